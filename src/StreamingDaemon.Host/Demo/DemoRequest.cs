using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Host.Demo;

/// <summary>What the demonstration's front needs of an HTTP/1.1 request.</summary>
internal sealed record DemoRequest(string Method, string Path, byte[] Body)
{
    /// <summary>Reads one request.</summary>
    /// <returns>Null where it is none, or larger than allowed.</returns>
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
        var length = ContentLength(lines);
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

        return new DemoRequest(requestLine[0], requestLine[1].Split('?')[0], body);
    }

    private static int ContentLength(string[] lines)
    {
        const string Name = "content-length:";
        var line = Array.Find(lines, l => l.StartsWith(Name, StringComparison.OrdinalIgnoreCase));
        return line is null ? 0 : int.TryParse(line.AsSpan(Name.Length).Trim(), out var length) ? length : -1;
    }
}
