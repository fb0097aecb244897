using System.ClientModel;
using System.Net.Http;
using System.Net.Sockets;
using System.Security.Authentication;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Makes results of what goes wrong with an upstream.</summary>
internal sealed class UpstreamFailures(OpenAIOptions options)
{
    /// <summary>What is read of an error's body, bytes.</summary>
    private const int MaxBodyBytes = 4096;

    /// <summary>How long it is waited for: the client waits too.</summary>
    private const int BodyTimeoutMs = 2_000;

    /// <summary>True for what the network and the upstream cause; anything else is a fault of
    /// ours.</summary>
    public static bool IsUpstreams(Exception exception) => exception is IOException or HttpRequestException
        or ClientResultException or OperationCanceledException or ObjectDisposedException or SocketException
        or AuthenticationException or EventTooLongException;

    /// <summary>The request got no answer.</summary>
    public BackendResult FromSending(Exception exception)
    {
        if (exception is OperationCanceledException)
        {
            var reason = $"no connection to the upstream within {options.ConnectTimeoutMs} ms";
            return exception.InnerException is TimeoutException
                ? new BackendResult(StreamOutcome.UpstreamTimeout, reason)
                : BackendResult.Failed("the request to the upstream was cancelled by its connection");
        }

        var http = Find<HttpRequestException>(exception);
        var what = http?.HttpRequestError switch
        {
            HttpRequestError.NameResolutionError => "the upstream's name cannot be resolved",
            HttpRequestError.ConnectionError => "the upstream cannot be reached",
            HttpRequestError.SecureConnectionError => "TLS with the upstream failed",
            HttpRequestError.VersionNegotiationError => "the upstream speaks another HTTP version",
            _ => "the request to the upstream failed",
        };
        return BackendResult.Failed(Clean($"{what}: {Innermost(exception)}"));
    }

    /// <summary>The answer broke off, or cannot be read on.</summary>
    public BackendResult FromReading(Exception exception, int status)
    {
        var reason = exception is EventTooLongException
            ? exception.Message
            : $"the upstream's answer broke off: {Innermost(exception)}";
        return BackendResult.Failed(Clean(reason), status);
    }

    /// <summary>The upstream spoke of an error in the middle of its answer.</summary>
    public BackendResult FromEvent(string error, int status) =>
        BackendResult.Failed(Clean($"the upstream sent an error: {error}"), status);

    /// <summary>The upstream sent what is no chunk.</summary>
    public static BackendResult Malformed(int status) =>
        BackendResult.Failed("the upstream sent an event that is not a JSON object", status);

    /// <summary>The upstream ended as if it were whole, which it was not.</summary>
    public static BackendResult Truncated(int status) => new(
        StreamOutcome.UpstreamTruncated, "the upstream ended without [DONE] or a finish reason", status);

    /// <summary>The upstream answered, but not with a stream.</summary>
    public async Task<BackendResult> FromResponseAsync(
        int status, string? contentType, Stream? body, CancellationToken cancellationToken)
    {
        var what = status switch
        {
            >= 200 and < 300 => $"the upstream answered with '{contentType}', not with text/event-stream",
            >= 300 and < 400 => $"the upstream redirects (HTTP {status}), which is not followed",
            _ => $"the upstream answered HTTP {status}",
        };
        var text = body is null ? "" : await ReadTextAsync(body, cancellationToken);
        return BackendResult.Failed(Clean(text.Length == 0 ? what : $"{what}: {text}"), status);
    }

    private static async Task<string> ReadTextAsync(Stream body, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(BodyTimeoutMs);
        var buffer = new byte[MaxBodyBytes];
        var length = 0;
        try
        {
            int count;
            while (length < buffer.Length
                && (count = await body.ReadAsync(buffer.AsMemory(length), limit.Token)) > 0)
                length += count;
        }
        catch (Exception exception) when (IsUpstreams(exception))
        {
            // What came is enough, unless it is our own stream that ends.
            cancellationToken.ThrowIfCancellationRequested();
        }

        return UpstreamErrorText.FromBody(buffer.AsSpan(0, length));
    }

    private string Clean(string reason) => UpstreamErrorText.Clean(reason, options.ApiKey);

    private static T? Find<T>(Exception? exception)
        where T : Exception
    {
        while (exception is not null and not T) exception = exception.InnerException;
        return (T?)exception;
    }

    // The outer messages say that something failed, the inner ones what.
    private static string Innermost(Exception exception)
    {
        while (exception.InnerException is { } inner) exception = inner;
        return exception.Message;
    }
}
