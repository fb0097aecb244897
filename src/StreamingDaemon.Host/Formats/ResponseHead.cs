using System.Buffers;
using System.Globalization;
using System.Text;

namespace StreamingDaemon.Host.Formats;

/// <summary>Writes response heads (RFC 9112): a stream's, and whole error responses.</summary>
internal static class ResponseHead
{
    /// <summary>The start of every stream's head. The application's headers and an empty line follow.
    /// </summary>
    private static ReadOnlySpan<byte> Stream =>
        "HTTP/1.1 200 OK\r\n"u8
        + "Content-Type: text/event-stream\r\n"u8
        + "Cache-Control: no-cache\r\n"u8
        + "Connection: close\r\n"u8
        + "X-Accel-Buffering: no\r\n"u8;

    /// <summary>Writes the head of a stream.</summary>
    /// <param name="output">The client's buffer.</param>
    /// <param name="applicationHeaders">Header lines, each with its CRLF; may be empty.</param>
    public static void WriteStream(IBufferWriter<byte> output, ReadOnlySpan<byte> applicationHeaders)
    {
        output.Write(Stream);
        output.Write(applicationHeaders);
        output.Write("\r\n"u8);
    }

    /// <summary>Writes a whole error response.</summary>
    /// <param name="output">The client's buffer.</param>
    /// <param name="error">What went wrong.</param>
    /// <param name="body">The error as JSON, in the stream's format.</param>
    /// <param name="applicationHeaders">The application's header lines: browsers need its CORS headers on
    /// errors too.</param>
    public static void WriteError(IBufferWriter<byte> output, ErrorResponse error, string body,
        ReadOnlySpan<byte> applicationHeaders)
    {
        var head = string.Create(CultureInfo.InvariantCulture,
            $"HTTP/1.1 {error.Status} {ReasonPhrase(error.Status)}\r\nContent-Type: application/json\r\n"
            + $"Content-Length: {Encoding.UTF8.GetByteCount(body)}\r\nCache-Control: no-store\r\n"
            + $"Connection: close\r\n");
        Encoding.UTF8.GetBytes(head, output);
        if (error.RetryAfterSeconds is { } seconds)
        {
            Encoding.UTF8.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"Retry-After: {seconds}\r\n"), output);
        }

        output.Write(applicationHeaders);
        Encoding.UTF8.GetBytes("\r\n" + body, output);
    }

    /// <summary>Writes a whole response that is no stream and no error.</summary>
    /// <param name="output">The client's buffer.</param>
    /// <param name="status">200, or 204.</param>
    /// <param name="body">One line of JSON; empty for 204.</param>
    /// <param name="applicationHeaders">Header lines, each with its CRLF; may be empty.</param>
    public static void WriteResponse(
        IBufferWriter<byte> output, int status, string body, ReadOnlySpan<byte> applicationHeaders)
    {
        var head = $"HTTP/1.1 {status} {ReasonPhrase(status)}\r\nCache-Control: no-store\r\n"
            + "Connection: close\r\n";
        Encoding.UTF8.GetBytes(head, output);
        if (body.Length > 0)
        {
            Encoding.UTF8.GetBytes("Content-Type: application/json\r\n"
                + $"Content-Length: {Encoding.UTF8.GetByteCount(body)}\r\n", output);
        }

        output.Write(applicationHeaders);
        Encoding.UTF8.GetBytes("\r\n" + body, output);
    }

    private static string ReasonPhrase(int status) => status switch
    {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, "no response has this status"),
    };
}
