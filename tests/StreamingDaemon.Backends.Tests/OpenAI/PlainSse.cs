using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>What <see cref="SseReader{TEvents}"/> must find, said as simply as possible: whole bytes, a list of
/// lines, one rule after the other.</summary>
internal static class PlainSse
{
    /// <summary>Reads the events one by one; the caller may look at the reader after each.</summary>
    public static IEnumerable<EventKind> Read(byte[] data, ChunkEvents events)
    {
        var type = "message";
        List<byte[]> lines = [];
        var isBare = false;
        foreach (var line in LinesOf(data).Append([]))
        {
            var text = Encoding.Latin1.GetString(line);
            var colon = text.IndexOf(':', StringComparison.Ordinal);
            var name = colon < 0 ? text : text[..colon];
            var value = colon < 0 ? [] : line[(colon + 1)..];
            var unspaced = value.AsSpan().StartsWith(" "u8) ? value[1..] : value;
            if (text.Length == 0)
            {
                if (lines.Count > 0)
                {
                    var kind = events.Read(type, Join(lines));
                    yield return isBare && kind == EventKind.Malformed ? EventKind.Delta : kind;
                }

                (type, lines, isBare) = ("message", [], false);
            }
            else if (name == "data")
            {
                lines.Add(unspaced);
            }
            else if (name == "event")
            {
                type = Encoding.Latin1.GetString(unspaced) switch
                {
                    "" or "message" => "message",
                    var other => NamesError(other) ? "error" : "other",
                };
            }
            else if (name.Length == 0 && colon == 0)
            {
                // A comment.
            }
            else if (isBare)
            {
                lines.Add(line);
            }
            else if (name.Equals("error", StringComparison.OrdinalIgnoreCase))
            {
                if (unspaced.Length > 0)
                    yield return events.Read("error", unspaced);
            }
            else
            {
                var json = IsJson(line) ? line : colon < 0 ? line : Encoding.Latin1.GetBytes(
                    Encoding.Latin1.GetString(value).Trim(' '));
                if (!IsJson(json) || (json != line && !events.IsError(json)))
                    continue;
                if (Encoding.Latin1.GetString(json).TrimEnd(' ', '\t')[^1] is '}' or ']')
                {
                    var kind = events.Read(type, json);
                    yield return kind == EventKind.Malformed ? EventKind.Delta : kind;
                }
                else if (lines.Count == 0)
                {
                    isBare = true;
                    lines.Add(line);
                }
            }
        }
    }

    /// <summary>Whether any of this is read that the standard skips, or the other way round.</summary>
    public static bool HasAdditions(byte[] data)
    {
        var lines = LinesOf(data).Select(Encoding.Latin1.GetString).ToList();
        var isAfterName = false;
        foreach (var line in lines)
        {
            if (line.Contains('{', StringComparison.Ordinal) && !line.StartsWith("data:", StringComparison.Ordinal))
                return true;
            if (line.StartsWith('[') || line.StartsWith("error", StringComparison.OrdinalIgnoreCase))
                return true;
            if (line.StartsWith("event", StringComparison.Ordinal) && line != "event: error")
                return true;
            // The platform's parser keeps a name over a blank line.
            if (line.Length == 0 && isAfterName)
                return true;
            isAfterName = line.StartsWith("event", StringComparison.Ordinal)
                || (isAfterName && line != "data" && !line.StartsWith("data:", StringComparison.Ordinal));
        }

        return false;
    }

    private static bool NamesError(string name) => name.Length <= 64 && name.All(char.IsAscii)
        && new[] { "error", "exception", "fail" }.Any(
            word => name.Contains(word, StringComparison.OrdinalIgnoreCase));

    private static bool IsJson(byte[] line) => line.Length > 0 && line[0] is (byte)'{' or (byte)'[';

    private static byte[] Join(List<byte[]> lines) =>
        lines.Aggregate((joined, line) => [.. joined, (byte)'\n', .. line]);

    private static List<byte[]> LinesOf(byte[] data)
    {
        if (data.AsSpan().StartsWith("\ufeff"u8))
            data = data[3..];
        var text = Encoding.Latin1.GetString(data).Replace("\r\n", "\n", StringComparison.Ordinal)
            .Replace('\r', '\n');
        return [.. text.Split('\n').Select(Encoding.Latin1.GetBytes)];
    }
}
