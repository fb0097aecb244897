using System.Globalization;
using System.Text.RegularExpressions;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>How what a reader got has ended.</summary>
public enum KeptEnd
{
    /// <summary>It has not: the reader left, or the connection did.</summary>
    None,
    Done,
    Error,
}

/// <summary>
/// What one reader of a kept answer has got so far, over all its connections. Its events must be a prefix of
/// one call's answer, numbered without a gap or a repeat.
/// </summary>
public sealed partial class KeptTranscript(KeptPlan plan)
{
    private const string Done = "[DONE]";
    private const string ErrorData = "data: {\"error\":";
    private const string Cut = ": the upstream ended";

    /// <summary>Id of the last event.</summary>
    public int Last { get; private set; }

    /// <summary>The call of the model that this is the answer of; 0 before its first piece.</summary>
    public int Call { get; private set; }

    /// <summary>What it has got is of more than one call.</summary>
    public bool HasTwoCalls { get; private set; }

    /// <summary>Pieces of its text.</summary>
    public int Pieces { get; private set; }

    public KeptEnd End { get; private set; }

    /// <summary>The code of the error that it ends with; empty if it has none.</summary>
    public string ErrorCode { get; private set; } = "";

    /// <summary>Takes one event, without the empty line at its end.</summary>
    /// <param name="text">The event.</param>
    /// <param name="isKept">False if the stream has no ids: it is not kept.</param>
    /// <returns>Null, or what is wrong with it.</returns>
    public string? Take(string text, bool isKept = true)
    {
        if (text == ": keep-alive")
            return null;
        if (End != KeptEnd.None)
            return $"after the end: '{Short(text)}'";
        if (!isKept)
            return TakeUnkept(text);
        var match = Numbered().Match(text);
        // An error of the daemon that reads for another one: it is no event of the answer.
        if (!match.Success && text.StartsWith(ErrorData, StringComparison.Ordinal))
            return TakeData(text);
        if (!match.Success)
            return $"an event without an id: '{Short(text)}'";
        var id = int.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
        if (id != Last + 1)
            return $"event {id} after {Last}: '{Short(text)}'";
        Last = id;
        return TakeData(match.Groups[2].Value);
    }

    private string? TakeUnkept(string text)
    {
        if (!text.StartsWith(Cut, StringComparison.Ordinal))
            return TakeData(text);
        End = KeptEnd.Error;
        return null;
    }

    private string? TakeData(string line)
    {
        if (!line.StartsWith("data: ", StringComparison.Ordinal))
            return $"an event without data: '{Short(line)}'";
        var data = line[6..];
        if (data == Done)
        {
            End = KeptEnd.Done;
            return null;
        }

        if (line.StartsWith(ErrorData, StringComparison.Ordinal))
        {
            End = KeptEnd.Error;
            ErrorCode = Code().Match(data).Groups[1].Value;
            return null;
        }

        var content = Content().Match(data);
        if (!content.Success)
            return data.Contains("\"finish_reason\":\"stop\"", StringComparison.Ordinal) ? null : $"unknown data: '{Short(data)}'";
        var call = int.Parse(content.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
        if (Call == 0)
            Call = call;
        HasTwoCalls |= call != Call;
        if (HasTwoCalls)
            return $"call {call} after call {Call}, at event {Last}";
        Pieces++;
        return content.Value == $"\"content\":\"{plan.Piece(Call, Pieces)}\"" ? null : $"piece {Pieces} is '{Short(content.Value)}'";
    }

    [GeneratedRegex("\"code\":\"(\\w+)\"")]
    private static partial Regex Code();

    private static string Short(string text) => text.Length > 80 ? $"{text[..80]}… ({text.Length})" : text;

    [GeneratedRegex(@"^id: (\d+)\n(.*)$", RegexOptions.Singleline)]
    private static partial Regex Numbered();

    /// <summary>Text, in the daemon's own format and in chunks. An empty one is a chunk's way to say nothing.
    /// </summary>
    [GeneratedRegex("\"content\":\"\\w+/(\\d+)/[^\"]+\"")]
    private static partial Regex Content();
}
