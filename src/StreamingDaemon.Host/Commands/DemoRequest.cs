using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.WebUtilities;

namespace StreamingDaemon.Host.Commands;

/// <summary>The parts of an HTTP/1.1 request that <see cref="DemoFront"/> needs.</summary>
internal sealed record DemoRequest(
    string Method, string Path, string Query, string ContentType, string LastEventId, byte[] Body)
{
    /// <summary>The kept answer that the address names (<c>?resume=</c>), or null.</summary>
    private string? Resumed =>
        QueryHelpers.ParseQuery(Query).TryGetValue("resume", out var ids) ? ids.ToString() : null;

    /// <summary>Reads one request.</summary>
    /// <returns>Null if it is not valid, or larger than allowed.</returns>
    public static async Task<DemoRequest?> ReadAsync(Socket socket, int maxHeadBytes, int maxBodyBytes,
        CancellationToken cancellationToken)
    {
        var buffer = new byte[maxHeadBytes];
        var filled = 0;
        int headEnd;
        while ((headEnd = buffer.AsSpan(0, filled).IndexOf("\r\n\r\n"u8)) < 0)
        {
            if (filled == buffer.Length)
                return null;
            var read = await socket.ReceiveAsync(buffer.AsMemory(filled), cancellationToken);
            if (read == 0)
                return null;
            filled += read;
        }

        var lines = Encoding.Latin1.GetString(buffer, 0, headEnd).Split("\r\n");
        var requestLine = lines[0].Split(' ');
        var contentLength = Header(lines, "Content-Length") ?? "0";
        if (!int.TryParse(contentLength, CultureInfo.InvariantCulture, out var length))
            return null;
        if (requestLine.Length != 3 || length < 0 || length > maxBodyBytes)
            return null;

        var body = new byte[length];
        var early = Math.Min(length, filled - headEnd - 4);
        buffer.AsSpan(headEnd + 4, early).CopyTo(body);
        for (var have = early; have < length;)
        {
            var read = await socket.ReceiveAsync(body.AsMemory(have), cancellationToken);
            if (read == 0)
                return null;
            have += read;
        }

        var address = requestLine[1].Split('?', 2);
        return new DemoRequest(requestLine[0], address[0], address.ElementAtOrDefault(1) ?? "",
            Header(lines, "Content-Type") ?? "", Header(lines, "Last-Event-ID") ?? "", body);
    }

    /// <summary>The handoff data of a POST: the JSON body unchanged, or the prompt of a form. A GET reads on,
    /// a DELETE stops.</summary>
    /// <returns>Null if the method does not fit the address.</returns>
    public byte[]? HandoffData() => (Method, Resumed) switch
    {
        ("POST", _) => QuestionData(),
        ("GET", { } id) => Object(("resume", id), ("last_event_id", LastEventId)),
        ("DELETE", { } id) => Object(("stop", id)),
        _ => null,
    };

    private byte[] QuestionData()
    {
        if (!ContentType.StartsWith("application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase))
            return Body;
        var form = QueryHelpers.ParseQuery(Encoding.UTF8.GetString(Body));
        var prompt = form.TryGetValue("prompt", out var texts) ? texts.ToString() : null;
        return SendCommand.HandoffData(prompt, null);
    }

    private static byte[] Object(params ReadOnlySpan<(string Name, string Value)> members)
    {
        using var json = new MemoryStream();
        using (var writer = new Utf8JsonWriter(json))
        {
            writer.WriteStartObject();
            foreach (var (name, value) in members)
                writer.WriteString(name, value);
            writer.WriteEndObject();
        }

        return json.ToArray();
    }

    private static string? Header(string[] lines, string name) =>
        Array.Find(lines, l => l.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase))?
            [(name.Length + 1)..].Trim();
}
