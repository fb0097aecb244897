using System.Net.Http;
using System.Net.Sockets;
using System.Security.Authentication;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>Turns an upstream's failures into results.</summary>
internal sealed class UpstreamFailures(UpstreamOptions options)
{
    /// <summary>How much of an error's body is read, bytes.</summary>
    private const int MaxBodyBytes = 4096;

    /// <summary>How long to wait for the body. It can only give a word for the log, and meanwhile the
    /// client's head and status wait.</summary>
    private const int BodyTimeoutMs = 250;

    /// <summary>RFC 9113, section 7: use HTTP/1.1.</summary>
    private const long Http11Required = 0xd;

    private readonly bool _isPriorKnowledge =
        options.Http2Enabled && options.Address.Scheme == Uri.UriSchemeHttp;

    private volatile bool _hasAnswered;

    /// <summary>True for failures that the network or the upstream causes; anything else is our own
    /// fault.</summary>
    public static bool IsUpstreams(Exception exception) => exception is IOException
        or HttpRequestException or OperationCanceledException or ObjectDisposedException or SocketException
        or AuthenticationException or InvalidDataException;

    /// <summary>A server without HTTP/2 may read its preface and wait for the rest of a request.</summary>
    public string? TimeoutHint => _isPriorKnowledge && !_hasAnswered
        ? $"if it does not speak HTTP/2, {options.Http1Hint}"
        : null;

    /// <summary>A response head came: the HTTP version is the right one.</summary>
    public void OnAnswer() => _hasAnswered = true;

    /// <summary>The request got no answer.</summary>
    public BackendResult FromSending(Exception exception)
    {
        if (exception is OperationCanceledException)
        {
            return exception.InnerException is TimeoutException
                ? new BackendResult(StreamOutcome.UpstreamTimeout,
                    $"no connection to the upstream within {options.ConnectTimeoutMs} ms")
                {
                    Fault = UpstreamFault.ConnectTimeout,
                }
                : BackendResult.Failed(
                    UpstreamFault.Reset, "the request to the upstream was cancelled by its connection");
        }

        var (fault, what) = Classify(exception);
        return BackendResult.Failed(fault, $"{what}: {UpstreamCause.Of(exception)}");
    }

    /// <summary>The answer broke off or became unreadable.</summary>
    public static BackendResult FromReading(Exception exception, int status) =>
        BackendResult.Failed(UpstreamFault.BrokenOff,
            $"the upstream's answer broke off: {UpstreamCause.Of(exception)}", status);

    /// <summary>The upstream sent a line or an event above the limit.</summary>
    public static BackendResult TooLong(int maxBytes, int status) => BackendResult.Failed(
        UpstreamFault.TooLong,
        $"the upstream sent an event of more than {maxBytes} bytes (streaming.max_event_bytes)", status);

    /// <summary>The upstream reported an error in the middle of its answer.</summary>
    /// <param name="word">The upstream's name for the error, or null.</param>
    /// <param name="status">The response's status.</param>
    public static BackendResult FromEvent(string? word, int status) => BackendResult.Failed(
        UpstreamFault.ErrorEvent, WithWord("the upstream sent an error in its stream", word), status);

    /// <summary>The upstream sent an unreadable event.</summary>
    public static BackendResult Malformed(int status) => BackendResult.Failed(
        UpstreamFault.Malformed, "the upstream sent an event that is not a JSON object", status);

    /// <summary>The upstream ended cleanly, but the answer was not whole.</summary>
    /// <param name="expectedEnd"><see cref="IEventReader.ExpectedEnd"/></param>
    /// <param name="status">The response's status.</param>
    public static BackendResult Truncated(string expectedEnd, int status) => new(
        StreamOutcome.UpstreamTruncated, $"the upstream ended without {expectedEnd}", status)
    {
        Fault = UpstreamFault.Truncated,
    };

    /// <summary>The answer ended, and there was nothing to show.</summary>
    /// <param name="onlyHeld"><see cref="IEventReader.OnlyHeld"/></param>
    /// <param name="status">The response's status.</param>
    public static BackendResult Empty(string? onlyHeld, int status) =>
        BackendResult.Failed(UpstreamFault.EmptyAnswer, onlyHeld is null
            ? "the upstream's answer is empty"
            : $"the answer holds only {onlyHeld}, which this stream's format cannot show", status);

    /// <summary>The upstream sent much that is no part of an answer.</summary>
    public static BackendResult NoProgress(int bytes, int status) => BackendResult.Failed(
        UpstreamFault.NoProgress, $"the upstream sent {bytes} bytes without any part of an answer", status);

    /// <summary>A JSON error in the place of the stream, under a 2xx status.</summary>
    /// <param name="word">The upstream's name for the error, or null.</param>
    /// <param name="status">The response's status.</param>
    public static BackendResult NotAStream(string? word, int status) => BackendResult.Failed(
        UpstreamFault.NotAStream, WithWord($"the upstream answered with an error under HTTP {status}", word),
        status);

    /// <summary>The upstream answered, but not with a stream.</summary>
    public async Task<BackendResult> FromResponseAsync(
        int status, string? contentType, Stream? body, CancellationToken cancellationToken)
    {
        var type = UpstreamErrorCode.FromContentType(contentType) ?? "no known type";
        var (fault, what) = status switch
        {
            >= 200 and < 300 =>
                (UpstreamFault.NotAStream, $"the upstream answered with {type}, not with text/event-stream"),
            >= 300 and < 400 =>
                (UpstreamFault.Redirect, $"the upstream redirects (HTTP {status}), which is not followed"),
            _ => (FaultOf(status), $"the upstream answered HTTP {status}"),
        };
        var word = body is null ? null : await ReadWordAsync(body, cancellationToken);
        return BackendResult.Failed(fault, WithWord(what, word), status);
    }

    private static UpstreamFault FaultOf(int status) => status switch
    {
        401 or 403 => UpstreamFault.Unauthorized,
        429 => UpstreamFault.RateLimited,
        < 500 => UpstreamFault.ClientError,
        _ => UpstreamFault.ServerError,
    };

    private static string WithWord(string what, string? word) => word is null ? what : $"{what} ({word})";

    private (UpstreamFault Fault, string What) Classify(Exception exception)
    {
        var http = UpstreamCause.Find<HttpRequestException>(exception);
        switch (http?.HttpRequestError)
        {
            case HttpRequestError.NameResolutionError:
                return (UpstreamFault.Dns, "the upstream's name cannot be resolved");
            case HttpRequestError.ConnectionError:
                return (UpstreamFault.Connect, "the upstream cannot be reached");
            case HttpRequestError.SecureConnectionError:
                return (UpstreamFault.Tls, "TLS with the upstream failed");
            case HttpRequestError.ConfigurationLimitExceeded:
                return (UpstreamFault.Protocol, "the upstream's response head is too long");
        }

        var http2Error = UpstreamCause.Find<HttpProtocolException>(exception)?.ErrorCode;
        if (IsAnotherHttp(http, http2Error))
        {
            return (UpstreamFault.Protocol, options.Http2Enabled
                ? $"the upstream does not speak HTTP/2; if it speaks HTTP/1.1, {options.Http1Hint}"
                : $"the upstream does not speak HTTP/1.1; if it speaks HTTP/2, {options.Http2Hint}");
        }

        // A reset during the handshake looks like one after it.
        const string Lost = "the upstream was lost before it answered";
        return (UpstreamFault.Reset, TimeoutHint is { } hint && http2Error is null
            ? $"{Lost}; {hint}"
            : Lost);
    }

    /// <summary>Whether the two ends speak different versions of HTTP. A server without HTTP/2 answers its
    /// preface with HTTP/1.1, or hangs up. A server that has answered before is restarting; its version has
    /// not changed.</summary>
    private bool IsAnotherHttp(HttpRequestException? http, long? http2Error)
    {
        var error = http?.HttpRequestError;
        if (error == HttpRequestError.VersionNegotiationError || http2Error == Http11Required)
            return true;
        if (_hasAnswered)
            return false;
        if (!options.Http2Enabled)
            return error == HttpRequestError.InvalidResponse;
        const long ProtocolError = 1;
        // The last is the end of the handshake, seen by a request that was about to use the connection. Only
        // then does the client give no cause.
        return _isPriorKnowledge && (error == HttpRequestError.InvalidResponse || http2Error == ProtocolError
            || http is { HttpRequestError: HttpRequestError.Unknown, InnerException: null });
    }

    private async Task<string?> ReadWordAsync(Stream body, CancellationToken cancellationToken)
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
            {
                length += count;
            }
        }
        catch (Exception exception) when (IsUpstreams(exception))
        {
            // What came is enough, unless our own stream has ended.
            cancellationToken.ThrowIfCancellationRequested();
        }

        return UpstreamErrorCode.FromBody(buffer.AsSpan(0, length), options.Secret);
    }
}
