using System.Globalization;

namespace StreamingDaemon.Testing;

/// <summary>An answer that the header X-Test-Pattern asks for.</summary>
/// <param name="Texts">The texts of the chunks.</param>
/// <param name="FinishReason">Finish reason of the last chunk, before [DONE]; null if the body just ends.
/// </param>
public sealed record TestPattern(IReadOnlyList<string> Texts, string? FinishReason)
{
    /// <summary>Chunks of the default answer.</summary>
    public const int ChunkCount = 18;

    private const string Stop = "stop";

    private static readonly string[] s_words =
    [
        "This ", "is ", "an ", "answer ", "streamed ", "word ", "by ", "word ", "to ", "demonstrate ",
        "that ", "completions ", "arrive ", "as ", "soon ", "as ", "they ", "are written.",
        " Then ", "the ", "list ",
        "begins ", "again ", "from ", "its ", "start. ",
    ];

    private static readonly string[] s_unicode =
    [
        "Hi ", "👋", " ", "🌍", "!", "日本", "語", "の", "テ", "スト", "中文", "测试", "한국", "어", "é", "ü", "ñ", "ß",
        "Ω", "π", "Ж", "я", "א", "ع", "𝄞", "𠀀", "👩‍👩‍👧", "🇪🇺", "e\u0301", "€", "½", "→", "✓", "a🙂b", ".",
    ];

    private const string ShortText = "One character at a time, forty-nine chunks in all";

    /// <summary>The default answer: 18 words, "stop", [DONE].</summary>
    public static TestPattern Default { get; } = new(s_words[..ChunkCount], Stop);

    /// <summary>
    /// "unicode", "short", "long", "abort:N" (N chunks, then a clean end of the body; 5 if N is not a
    /// number), "finish:REASON" (6 chunks; "stop" if it is empty); the default answer for everything else.
    /// </summary>
    public static TestPattern Of(string? name) => name switch
    {
        "unicode" => new(s_unicode, Stop),
        "short" => new([.. ShortText.Select(character => character.ToString())], Stop),
        "long" => new([.. "abc".Select(character => new string(character, 4096))], Stop),
        ['a', 'b', 'o', 'r', 't', ':', .. var count] => new(
            Cycle(int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : 5),
            null),
        ['f', 'i', 'n', 'i', 's', 'h', ':', .. var reason] => new(Cycle(6), reason.Length > 0 ? reason : Stop),
        _ => Default,
    };

    private static string[] Cycle(int count) =>
        [.. Enumerable.Range(0, count).Select(index => s_words[index % s_words.Length])];
}
