using System.Net.Http;
using System.Net.Sockets;
using System.Security.Authentication;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// The cause that an exception of the HTTP client names, without its message: some messages quote the
/// upstream's bytes ("Received an invalid status line: '…'").
/// </summary>
internal static class UpstreamCause
{
    /// <summary>RFC 9113, section 7, in the order of the codes.</summary>
    private static readonly string[] s_http2Errors =
    [
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
        "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ];

    /// <summary>The innermost known exception: the outer ones say that something failed, the inner ones
    /// what.</summary>
    public static string Of(Exception exception)
    {
        if (Find<UpstreamSocketException>(exception) is { } socket)
            return socket.Message;
        var cause = exception.GetType().Name;
        for (var inner = exception; inner is not null; inner = inner.InnerException)
            cause = Describe(inner) ?? cause;
        return cause;
    }

    /// <summary>The first exception of that type among an exception and its causes, or null.</summary>
    public static T? Find<T>(Exception? exception)
        where T : Exception
    {
        while (exception is not null and not T)
            exception = exception.InnerException;
        return (T?)exception;
    }

    private static string? Describe(Exception exception) => exception switch
    {
        // The text for the error number: the exception's own text may also name addresses.
        SocketException socket => new SocketException((int)socket.SocketErrorCode).Message,
        HttpProtocolException http2 => "HTTP/2 error " + Http2Error(http2.ErrorCode),
        HttpIOException { HttpRequestError: not HttpRequestError.Unknown } http =>
            http.HttpRequestError.ToString(),
        // The framework's words and the names of its enums; nothing from the certificate.
        AuthenticationException tls => tls.Message,
        UpstreamFloodException flood => flood.Message,
        _ => null,
    };

    private static string Http2Error(long code) =>
        code >= 0 && code < s_http2Errors.Length ? s_http2Errors[code] : $"0x{code:x}";
}
