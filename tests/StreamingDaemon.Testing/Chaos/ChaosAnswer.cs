using System.Text;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>Checks an answer: it must be a status with its body, or a stream. A stream must be an exact
/// prefix of the complete answer, followed by an end.</summary>
public static class ChaosAnswer
{
    private const string Done = "data: [DONE]";
    private const string KeepAlive = ": keep-alive";

    /// <summary>The complaint if there is no answer at all.</summary>
    public const string Nothing = "no response head in 0 bytes";

    /// <summary>A content event of plain text, as the daemon writes it.</summary>
    public static string Event(string text) => $"data: {{\"content\":\"{text}\"}}";

    /// <summary>Checks an answer.</summary>
    /// <param name="answer">All bytes that were read.</param>
    /// <param name="expected">The content events of the complete answer.</param>
    /// <returns>Null, or the complaint.</returns>
    public static string? Judge(byte[] answer, IReadOnlyList<string> expected)
    {
        var text = Encoding.UTF8.GetString(answer);
        var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
            return $"no response head in {answer.Length} bytes";
        if (!text.StartsWith("HTTP/1.1 200 ", StringComparison.Ordinal))
        {
            return text.Contains("\"error\"", StringComparison.Ordinal) && text.EndsWith("}\n", StringComparison.Ordinal)
                ? null : $"an error without its body: {text}";
        }

        var events = text[(end + 4)..].Split("\n\n");
        if (events is not [.. var before, var last, ""])
            return $"a stream that is cut inside an event, of {answer.Length} bytes; last: {Short(events[^1])}";
        var isDone = last == Done;
        if (!isDone && !last.StartsWith("data: {\"error\":", StringComparison.Ordinal)
            && !last.StartsWith(": the upstream ended", StringComparison.Ordinal))
        {
            return $"a stream without an end, of {answer.Length} bytes; last: {Short(last)}";
        }

        var contents = before.Where(e => e != KeepAlive).ToList();
        for (var i = 0; i < contents.Count; i++)
        {
            if (i == expected.Count || contents[i] != expected[i])
                return $"event {i + 1} is '{Short(contents[i])}'";
        }

        return isDone && contents.Count < expected.Count
            ? $"[DONE] after {contents.Count} of {expected.Count} events" : null;
    }

    private static string Short(string text) => text.Length > 80 ? $"{text[..80]}… ({text.Length})" : text;
}
