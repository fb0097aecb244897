using System.Buffers;
using System.Globalization;
using System.Text;
using StreamingDaemon.Host.Handoff;

namespace StreamingDaemon.Host.Formats;

/// <summary>Response heads (RFC 9112): the stream's, and those of errors before it began.</summary>
internal static class ResponseHead
{
    /// <summary>What every stream begins with; the application's headers and an empty line follow.</summary>
    private static ReadOnlySpan<byte> Stream =>
        "HTTP/1.1 200 OK\r\n"u8
        + "Content-Type: text/event-stream\r\n"u8
        + "Cache-Control: no-cache\r\n"u8
        + "Connection: close\r\n"u8
        + "X-Accel-Buffering: no\r\n"u8;

    public static void WriteStream(IBufferWriter<byte> output, ReadOnlySpan<byte> applicationHeaders)
    {
        output.Write(Stream);
        output.Write(applicationHeaders);
        output.Write("\r\n"u8);
    }

    /// <summary>A whole error response: <c>{"error":{"message":…,"request_id":…}}</c>.</summary>
    /// <param name="output">Where it goes.</param>
    /// <param name="status">400 to 599.</param>
    /// <param name="message">For the client; plain ASCII, without quotes.</param>
    /// <param name="requestId">Already safe (<see cref="RequestId"/>).</param>
    /// <param name="retryAfterSeconds">Retry-After, or null for none.</param>
    /// <param name="applicationHeaders">The application's headers: a browser needs its CORS ones on errors
    /// too.</param>
    public static void WriteError(IBufferWriter<byte> output, int status, string message, string requestId,
        int? retryAfterSeconds, ReadOnlySpan<byte> applicationHeaders)
    {
        var body = $"{{\"error\":{{\"message\":\"{message}\",\"request_id\":\"{requestId}\"}}}}\n";
        var head = string.Create(CultureInfo.InvariantCulture,
            $"HTTP/1.1 {status} {ReasonPhrase(status)}\r\nContent-Type: application/json\r\n"
            + $"Content-Length: {Encoding.UTF8.GetByteCount(body)}\r\nCache-Control: no-store\r\n"
            + $"Connection: close\r\n");
        Encoding.UTF8.GetBytes(head, output);
        if (retryAfterSeconds is { } seconds)
        {
            Encoding.UTF8.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"Retry-After: {seconds}\r\n"), output);
        }

        output.Write(applicationHeaders);
        Encoding.UTF8.GetBytes("\r\n" + body, output);
    }

    private static string ReasonPhrase(int status) => status switch
    {
        400 => "Bad Request",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, "no such error is sent"),
    };
}
