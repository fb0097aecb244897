using System.Text;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>The head of a request to the metrics port: what of HTTP/1.1 (RFC 9112) a probe, a scraper and a
/// browser use.</summary>
/// <param name="Method">As it came.</param>
/// <param name="Path">Without query, in lower case.</param>
/// <param name="KeepAlive">May the connection take another request?</param>
/// <param name="HasBody">Follows anything that is not read?</param>
/// <param name="Refusal">The status of an error if it is no request that can be answered, or 0.</param>
internal sealed record HttpRequest(string Method, string Path, bool KeepAlive, bool HasBody, int Refusal)
{
    /// <summary>The largest head that is read.</summary>
    public const int MaxHeadBytes = 8 * 1024;

    /// <summary>Takes one request from the beginning of what has come.</summary>
    /// <param name="bytes">What has come.</param>
    /// <param name="length">How many of them are the request's.</param>
    /// <returns>Null if its head is not whole yet.</returns>
    public static HttpRequest? TryRead(ReadOnlySpan<byte> bytes, out int length)
    {
        // A robust server ignores empty lines before a request (RFC 9112, 2.2).
        var start = bytes.IndexOfAnyExcept((byte)'\r', (byte)'\n');
        length = bytes.Length;
        if (start < 0)
            return bytes.Length < MaxHeadBytes ? null : Refuse(400);
        // TLS, or some other protocol: more of it makes it no clearer.
        if (!char.IsAsciiLetterUpper((char)bytes[start]))
            return Refuse(400);
        var head = bytes[start..];
        var end = EndOf(head);
        if (end < 0)
            return bytes.Length < MaxHeadBytes ? null : Refuse(431);
        length = start + end;
        return Parse(Encoding.Latin1.GetString(head[..end]).TrimEnd('\r', '\n').Split('\n'));
    }

    private static int EndOf(ReadOnlySpan<byte> head)
    {
        var crlf = head.IndexOf("\n\r\n"u8);
        var lf = head.IndexOf("\n\n"u8);
        if (crlf < 0 && lf < 0)
            return -1;
        return lf < 0 || (crlf >= 0 && crlf < lf) ? crlf + 3 : lf + 2;
    }

    private static HttpRequest Parse(string[] lines)
    {
        if (lines[0].TrimEnd('\r').Split(' ') is not [var method, var target, var version])
            return Refuse(400);
        if (version is not ("HTTP/1.1" or "HTTP/1.0"))
            return Refuse(version.StartsWith("HTTP/", StringComparison.Ordinal) ? 505 : 400);
        var keepAlive = version == "HTTP/1.1";
        var (hosts, hasBody) = (0, false);
        foreach (var raw in lines.AsSpan(1))
        {
            var line = raw.TrimEnd('\r');
            var colon = line.IndexOf(':');
            if (colon <= 0 || line.AsSpan(0, colon).ContainsAny(" \t\r"))
                return Refuse(400);
            var value = line.AsSpan(colon + 1).Trim(" \t");
            switch (line[..colon].ToLowerInvariant())
            {
                case "host":
                    hosts++;
                    break;
                case "connection" when value.Contains("close", StringComparison.OrdinalIgnoreCase):
                    keepAlive = false;
                    break;
                case "content-length" when value is not "0":
                case "transfer-encoding":
                    hasBody = true;
                    break;
            }
        }

        return hosts > 1 || (hosts == 0 && version == "HTTP/1.1") || PathOf(target) is not { } path
            ? Refuse(400)
            : new HttpRequest(method, path, keepAlive && !hasBody, hasBody, 0);
    }

    /// <summary>The path of a target in origin or absolute form; null if it is neither.</summary>
    private static string? PathOf(string target)
    {
        if (target.StartsWith("http://", StringComparison.OrdinalIgnoreCase))
        {
            var slash = target.IndexOf('/', "http://".Length);
            target = slash < 0 ? "/" : target[slash..];
        }

        return target.StartsWith('/') ? target.Split('?')[0].ToLowerInvariant() : null;
    }

    /// <summary>After an error nobody knows where the next request would begin.</summary>
    private static HttpRequest Refuse(int status) => new("GET", "", KeepAlive: false, HasBody: true, status);
}
