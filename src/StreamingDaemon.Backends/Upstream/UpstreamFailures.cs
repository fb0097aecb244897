using System.Net.Http;
using System.Net.Sockets;
using System.Security.Authentication;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>Turns an upstream's failures into results.</summary>
internal sealed class UpstreamFailures(UpstreamOptions options)
{
    /// <summary>How much of an error's body is read, bytes.</summary>
    private const int MaxBodyBytes = 4096;

    /// <summary>How long to wait for the body. It can only name the error for the log and say that a retry
    /// is useless, and the client waits for its status meanwhile.</summary>
    private const int BodyTimeoutMs = 250;

    internal const string ErrorUnder200 = "the upstream answered with an error under";

    /// <summary>RFC 9113, section 7: use HTTP/1.1.</summary>
    internal const long Http11Required = 0xd;

    /// <summary>RFC 9113, section 7. The HTTP client also gives it to the streams of a connection that did
    /// not answer a ping.</summary>
    private const long ProtocolError = 1;

    private const string ZeroStreams = "SETTINGS_MAX_CONCURRENT_STREAMS: 0";

    private readonly bool _isPriorKnowledge =
        options.Http2Enabled == true && options.Address.Scheme == Uri.UriSchemeHttp;

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

    /// <summary>A response head or HTTP/2's SETTINGS came: the HTTP version is the right one.</summary>
    public void OnAnswer() => _hasAnswered = true;

    /// <summary>Whether a server may have refused the client certificate: in the handshake, with a status of
    /// its own (nginx: 400), or by hanging up, which is how TLS 1.3 does it.</summary>
    public static bool MayBeClientCertificate(BackendResult result) => result.Fault is UpstreamFault.Tls
        or UpstreamFault.Reset or UpstreamFault.Unauthorized or UpstreamFault.ClientError;

    /// <summary>The server has HTTP/2, but not for this request.</summary>
    public static bool IsHttp11Required(Exception exception) =>
        UpstreamCause.Find<HttpProtocolException>(exception)?.ErrorCode == Http11Required;

    /// <summary>A new HTTP/2 connection could not be used: it had ended, or its peer allowed no stream. Only
    /// then does the client give no cause.</summary>
    public static bool MayLackStream(Exception? exception) => exception is
        HttpRequestException { HttpRequestError: HttpRequestError.Unknown, InnerException: null };

    /// <summary>The request got no answer.</summary>
    public BackendResult FromSending(Exception exception, bool allowsNoStream)
    {
        if (exception is OperationCanceledException)
        {
            return exception.InnerException is TimeoutException
                ? new BackendResult(StreamOutcome.UpstreamTimeout,
                    $"no connection to the upstream{Through} within {options.ConnectTimeoutMs} ms"
                    + (allowsNoStream ? $"; the last one allowed no streams ({ZeroStreams})" : ""))
                {
                    Fault = UpstreamFault.ConnectTimeout,
                }
                : BackendResult.Failed(
                    UpstreamFault.Reset, "the request to the upstream was cancelled by its connection");
        }

        var (fault, what) = Classify(exception);
        var isDead = fault == UpstreamFault.Reset && IsUnanswered(exception);
        return BackendResult.Failed(fault, $"{what}: {UpstreamCause.Of(exception)}") with
        {
            IsConnectionDead = isDead,
            // 407, or a proxy that refuses this destination: no retry changes it.
            ShouldRetry = IsRefusedByProxy(exception) ? false : null,
        };
    }

    private string Through => options.Proxy is { } proxy && options.SocketPath is null
        ? $" through the proxy of {proxy.Variable}"
        : "";

    /// <summary>The answer broke off or became unreadable.</summary>
    public static BackendResult FromReading(Exception exception, int status) =>
        UpstreamCause.Find<UnknownCodingException>(exception) is { } coding
            ? BackendResult.Failed(UpstreamFault.NotAStream, coding.Message, status)
            : BackendResult.Failed(UpstreamFault.BrokenOff,
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
        UpstreamFault.Malformed, "the upstream sent an event that is not a JSON object, or nests too deep",
        status);

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

    /// <summary>The upstream sent much, but no part of an answer.</summary>
    public static BackendResult NoProgress(int bytes, int status) => BackendResult.Failed(
        UpstreamFault.NoProgress, $"the upstream sent {bytes} bytes without any part of an answer", status);

    /// <summary>A JSON error instead of a stream, with a 2xx status.</summary>
    /// <param name="word">The upstream's name for the error, or null.</param>
    /// <param name="status">The response's status.</param>
    public static BackendResult NotAStream(string? word, int status) => BackendResult.Failed(
        UpstreamFault.NotAStream, WithWord($"{ErrorUnder200} HTTP {status}", word),
        status);

    /// <summary>The upstream answered, but not with a stream.</summary>
    /// <param name="status">The HTTP status.</param>
    /// <param name="contentType">The header Content-Type, or null.</param>
    /// <param name="shouldRetry">The header <c>x-should-retry</c>, or null.</param>
    /// <param name="body">The error's body, or null.</param>
    /// <param name="model">The model and who named it, for the log if the upstream does not have it.</param>
    /// <param name="cancellationToken">The client's.</param>
    public async Task<BackendResult> FromResponseAsync(int status, string? contentType, string? shouldRetry,
        Stream? body, string model, CancellationToken cancellationToken)
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
        var bytes = body is null ? default : await ReadBodyAsync(body, cancellationToken);
        var word = UpstreamErrorCode.FromBody(bytes.Span, options.Key.Hidden);
        what = WithWord(what, word);
        if (MissingModel.IsNamed(status, bytes.Span))
            what = WithoutModel(what, model);
        return BackendResult.Failed(fault, what, status) with
        {
            ShouldRetry = RetryAdvice.Of(status, shouldRetry, bytes.Span),
            RetryAfter = UpstreamRetryAfter.OfBody(bytes.Span),
        };
    }

    /// <summary>Names the model that the upstream does not have.</summary>
    public static BackendResult WithModel(BackendResult result, string model) =>
        result with { Reason = WithoutModel(result.Reason, model) };

    private static string WithoutModel(string? what, string model) =>
        $"{what}; it does not have the model {model}";

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
        // Over HTTP/2 the limit is the cause of an error without a name.
        if (UpstreamCause.Find<HttpRequestException>(http?.InnerException) is
            { HttpRequestError: HttpRequestError.ConfigurationLimitExceeded } limit)
        {
            http = limit;
        }

        switch (http?.HttpRequestError)
        {
            case HttpRequestError.NameResolutionError:
                return (UpstreamFault.Dns, "the upstream's name cannot be resolved");
            case HttpRequestError.ConnectionError when IsUnresolved(http):
                return (UpstreamFault.Dns, "the upstream's name cannot be resolved");
            case HttpRequestError.ConnectionError:
                return (UpstreamFault.Connect, options.Proxy is { } proxy && options.SocketPath is null
                    ? $"the proxy of {proxy.Variable} cannot be reached"
                    : "the upstream cannot be reached");
            case HttpRequestError.SecureConnectionError:
                return (UpstreamFault.Tls, "TLS with the upstream failed");
            case HttpRequestError.ProxyTunnelError:
                var answer = http.StatusCode is { } code ? $"HTTP {(int)code}" : "no tunnel";
                return (UpstreamFault.Connect, $"{options.Proxy?.Variable}: the proxy answered {answer}");
            case HttpRequestError.ConfigurationLimitExceeded:
                return (UpstreamFault.Protocol, "the upstream's response head is too long");
        }

        var http2Error = UpstreamCause.Find<HttpProtocolException>(exception)?.ErrorCode;
        if (IsAnotherHttp(http, http2Error))
        {
            return (UpstreamFault.Protocol, options.Http2Enabled switch
            {
                true => $"the upstream does not speak HTTP/2; if it speaks HTTP/1.1, {options.Http1Hint}",
                false => $"the upstream does not speak HTTP/1.1; if it speaks HTTP/2, {options.Http2Hint}",
                null => "the upstream speaks neither HTTP/2 nor HTTP/1.1",
            });
        }

        // A reset during the handshake looks like one after it.
        const string Lost = "the upstream was lost before it answered";
        return (UpstreamFault.Reset, TimeoutHint is { } hint && http2Error is null
            ? $"{Lost}; {hint}"
            : Lost);
    }

    /// <summary>The peer did not answer a ping, or the kernel's packets (<see cref="Dialer"/>).</summary>
    private static bool IsUnanswered(Exception exception) =>
        UpstreamCause.Find<HttpProtocolException>(exception)?.ErrorCode == ProtocolError
        || UpstreamCause.Find<SocketException>(exception)?.SocketErrorCode is SocketError.TimedOut
            or SocketError.HostUnreachable or SocketError.NetworkUnreachable;

    private static bool IsRefusedByProxy(Exception exception) =>
        UpstreamCause.Find<HttpRequestException>(exception) is
        {
            HttpRequestError: HttpRequestError.ProxyTunnelError,
            StatusCode: >= (System.Net.HttpStatusCode)400 and < (System.Net.HttpStatusCode)500,
        };

    /// <summary>The resolver did not answer; the HTTP client has a name of its own only for "no such
    /// host".</summary>
    private static bool IsUnresolved(Exception exception) =>
        UpstreamCause.Find<SocketException>(exception)?.SocketErrorCode is SocketError.TryAgain
            or SocketError.NoData or SocketError.NoRecovery or SocketError.HostNotFound;

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
        if (options.Http2Enabled != true)
            return error == HttpRequestError.InvalidResponse;
        // The last is the end of the handshake, seen by a request that was about to use the connection.
        return _isPriorKnowledge && (error == HttpRequestError.InvalidResponse || http2Error == ProtocolError
            || MayLackStream(http));
    }

    private static async Task<ReadOnlyMemory<byte>> ReadBodyAsync(
        Stream body, CancellationToken cancellationToken)
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

        return buffer.AsMemory(0, length);
    }
}
