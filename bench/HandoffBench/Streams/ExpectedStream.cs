using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Bench.Streams;

/// <summary>The shape an answer must have before it is accepted as the reference for all others.</summary>
/// <param name="Events">Content events, [DONE] not counted.</param>
/// <param name="IsMock">The texts follow the scheme of the mock backends of this family of daemons.</param>
internal sealed record AnswerShape(int Events, bool IsMock);

/// <summary>
/// Every byte of the answer to one request: learned from the first answer, which is checked strictly against
/// the protocol. The other answers to the same request must be the same bytes.
/// </summary>
internal sealed class ExpectedStream
{
    private const string LastMockText = "[DONE-CONTENT]";

    private ExpectedStream(byte[] bytes, int[] marks, Range id)
    {
        Bytes = bytes;
        Marks = marks;
        (IdStart, IdEnd) = (id.Start.Value, id.End.Value);
    }

    public byte[] Bytes { get; }

    /// <summary>Offsets after the head, after each content event, and after [DONE].</summary>
    public int[] Marks { get; }

    /// <summary>Where a kept answer's id begins and ends in the head: each answer has its own, of one
    /// length. Both 0 if the answer is not kept.</summary>
    public int IdStart { get; }

    /// <inheritdoc cref="IdStart"/>
    public int IdEnd { get; }

    /// <summary>Content events.</summary>
    public int Events => Marks.Length - 2;

    /// <summary>Sends of a daemon that sends each piece separately: head, events, [DONE].</summary>
    public int Sends => Marks.Length;

    /// <summary>Average bytes of a content event.</summary>
    public int EventBytes => (Marks[^2] - Marks[0]) / Math.Max(1, Events);

    /// <exception cref="InvalidAnswerException">The answer does not have that shape.</exception>
    public static ExpectedStream Learn(ReadOnlySpan<byte> answer, AnswerShape shape)
    {
        var marks = new List<int> { CheckHead(answer) };
        var texts = new List<string>();
        var id = FindId(answer[..marks[0]]);
        while (true)
        {
            var rest = answer[marks[^1]..];
            var length = rest.IndexOf("\n\n"u8) + 2;
            Require(length >= 2, $"event {marks.Count} has no end: {Show(rest)}");
            var line = rest[..(length - 2)];
            if (id.End.Value > 0)
                line = WithoutNumber(line, marks.Count);
            Require(line.StartsWith("data: "u8), $"event {marks.Count} is no data line: {Show(line)}");
            marks.Add(marks[^1] + length);
            var data = line["data: "u8.Length..];
            if (data.SequenceEqual("[DONE]"u8))
                break;
            texts.Add(ReadContent(data));
        }

        Require(marks[^1] == answer.Length, $"something follows [DONE]: {Show(answer[marks[^1]..])}");
        Require(texts.Count == shape.Events, $"{texts.Count} events instead of {shape.Events}");
        if (shape.IsMock)
            CheckMockTexts(texts);
        return new ExpectedStream(answer.ToArray(), [.. marks], id);
    }

    private static int CheckHead(ReadOnlySpan<byte> answer)
    {
        var end = answer.IndexOf("\r\n\r\n"u8);
        Require(end >= 0, $"the head has no end: {Show(answer)}");
        var lines = Encoding.ASCII.GetString(answer[..end]).Split("\r\n");
        Require(lines[0] == "HTTP/1.1 200 OK", $"the status line is '{lines[0]}'");
        foreach (var header in (string[])["Content-Type: text/event-stream", "Connection: close"])
            Require(lines.Contains(header), $"the head has no '{header}'");
        return end + 4;
    }

    /// <summary>The value of a kept answer's <c>X-Answer-Id</c>.</summary>
    private static Range FindId(ReadOnlySpan<byte> head)
    {
        var name = "\r\nX-Answer-Id: "u8;
        var start = head.IndexOf(name) + name.Length;
        return start < name.Length ? default : start..(start + head[start..].IndexOf((byte)'\r'));
    }

    /// <summary>An event of a kept answer without its <c>id</c> line, which must be the event's number.
    /// </summary>
    private static ReadOnlySpan<byte> WithoutNumber(ReadOnlySpan<byte> lines, int number)
    {
        var id = Encoding.ASCII.GetBytes($"id: {number}\n");
        Require(lines.StartsWith(id), $"event {number} does not begin with its number: {Show(lines)}");
        return lines[id.Length..];
    }

    private static string ReadContent(ReadOnlySpan<byte> data)
    {
        try
        {
            var reader = new Utf8JsonReader(data);
            using var document = JsonDocument.ParseValue(ref reader);
            Require(!reader.Read(), $"something follows the JSON of an event: {Show(data)}");
            if (document.RootElement.ValueKind == JsonValueKind.Object
                && document.RootElement.TryGetProperty("content", out var content)
                && content.ValueKind == JsonValueKind.String && content.GetString() is { Length: > 0 } text)
            {
                return text;
            }
        }
        catch (JsonException exception)
        {
            throw new InvalidAnswerException($"an event is no JSON: {Show(data)}: {exception.Message}");
        }

        throw new InvalidAnswerException($"an event has no content: {Show(data)}");
    }

    private static void CheckMockTexts(List<string> texts)
    {
        Require(texts[0].Contains("Prompt: ", StringComparison.Ordinal), $"event 1 is '{texts[0]}'");
        Require(texts[1].StartsWith("User ID: ", StringComparison.Ordinal), $"event 2 is '{texts[1]}'");
        for (var i = 13; i < texts.Count; i++)
        {
            var text = texts[i - 1];
            Require(text == $"This is message {i} of {texts.Count}.", $"event {i} is '{text}'");
        }

        Require(texts[^1] == LastMockText, $"the last event is '{texts[^1]}'");
    }

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
            throw new InvalidAnswerException(otherwise);
    }

    private static string Show(ReadOnlySpan<byte> bytes) =>
        Encoding.UTF8.GetString(bytes[..Math.Min(bytes.Length, 120)]).ReplaceLineEndings("⏎");
}

/// <summary>A daemon's first answer violates the protocol.</summary>
internal sealed class InvalidAnswerException(string message) : Exception(message);
