using System.Globalization;

namespace StreamingDaemon.Testing;

/// <summary>The answers the fake upstream gives without being told: the default one and the test
/// patterns.</summary>
public static class FakeLlmScenarios
{
    /// <summary>Chunks of the default answer.</summary>
    public const int ChunkCount = 18;

    /// <summary>Bytes of the 18 content events a daemon makes of the default answer, without head and
    /// end marker: 636 in all less 119 and 14, the figure that load generators print as expected.</summary>
    public const int EventBytes = 503;

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

    /// <summary>The 18 texts of the default answer.</summary>
    public static IReadOnlyList<string> Words { get; } = s_words[..ChunkCount];

    /// <summary>The texts of a pattern that ends whole: "unicode", "short", "long", or the
    /// default.</summary>
    public static IReadOnlyList<string> TextsOf(string pattern) => pattern switch
    {
        "unicode" => s_unicode,
        "short" => [.. ShortText.Select(character => character.ToString())],
        "long" => [.. "abc".Select(character => new string(character, 4096))],
        _ => Words,
    };

    /// <summary>Answers as the header X-Test-Pattern asks, else with the default answer.</summary>
    public static async Task RunAsync(FakeLlmExchange exchange)
    {
        var pattern = exchange.Request.Headers.GetValueOrDefault("X-Test-Pattern") ?? "";
        if (pattern.Length > 0) exchange.Context.Response.Headers["X-Test-Pattern-Applied"] = pattern;
        await exchange.StartAsync();
        if (pattern.StartsWith("abort:", StringComparison.Ordinal))
        {
            var isNumber = int.TryParse(pattern.AsSpan(6), CultureInfo.InvariantCulture, out var count);
            await SendAsync(exchange, Cycle(isNumber ? count : 5));
            return;
        }

        var finish = pattern.StartsWith("finish:", StringComparison.Ordinal) ? pattern[7..] : null;
        await SendAsync(exchange, finish is null ? TextsOf(pattern) : Cycle(6));
        await PauseAsync(exchange);
        await exchange.SendFinishAsync(string.IsNullOrEmpty(finish) ? "stop" : finish);
        await PauseAsync(exchange);
        await exchange.SendDoneAsync();
    }

    private static async Task SendAsync(FakeLlmExchange exchange, IEnumerable<string> texts)
    {
        var first = true;
        foreach (var text in texts)
        {
            if (!first) await PauseAsync(exchange);
            first = false;
            await exchange.SendDeltaAsync(text);
        }
    }

    private static Task PauseAsync(FakeLlmExchange exchange) => exchange.ChunkDelayMs == 0
        ? Task.CompletedTask
        : Task.Delay(exchange.ChunkDelayMs, exchange.Context.RequestAborted);

    private static IEnumerable<string> Cycle(int count) =>
        Enumerable.Range(0, count).Select(index => s_words[index % s_words.Length]);
}
