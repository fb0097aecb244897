using System.Globalization;
using System.Text;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>An answer of the metrics port.</summary>
/// <param name="Status">Of HTTP.</param>
/// <param name="ContentType">Of the body.</param>
/// <param name="Body">All of it.</param>
/// <param name="Header">One more line of the head, with its end, or nothing.</param>
internal sealed record HttpAnswer(
    int Status, string ContentType, ReadOnlyMemory<byte> Body, string Header = "")
{
    /// <summary>An error, in words.</summary>
    public static HttpAnswer Error(int status, string header = "") =>
        new(status, "text/plain", Encoding.ASCII.GetBytes(Reason(status) + "\n"), header);

    /// <summary>What is sent.</summary>
    /// <param name="withBody">False for HEAD.</param>
    /// <param name="keepAlive">False if the connection is closed after it.</param>
    public byte[] ToBytes(bool withBody, bool keepAlive)
    {
        var head = string.Create(CultureInfo.InvariantCulture,
            $"HTTP/1.1 {Status} {Reason(Status)}\r\nDate: {DateTimeOffset.UtcNow:R}\r\n"
            + $"Content-Type: {ContentType}\r\nContent-Length: {Body.Length}\r\n{Header}"
            + $"{(keepAlive ? "" : "Connection: close\r\n")}\r\n");
        return [.. Encoding.ASCII.GetBytes(head), .. withBody ? Body.Span : []];
    }

    private static string Reason(int status) => status switch
    {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => throw new ArgumentOutOfRangeException(nameof(status)),
    };
}
