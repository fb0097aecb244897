namespace StreamingDaemon.Testing;

/// <summary>The fake upstream's built-in answers: the default one and the test patterns.</summary>
public static class FakeLlmScenarios
{
    /// <summary>Chunks of the default answer.</summary>
    public const int ChunkCount = TestPattern.ChunkCount;

    /// <summary>Bytes of the 18 content events that a daemon makes of the default answer, without head and
    /// [DONE]: 636 in all, minus 119 and 14. Load generators expect this number.</summary>
    public const int EventBytes = 503;

    /// <summary>The 18 texts of the default answer.</summary>
    public static IReadOnlyList<string> Words => TestPattern.Default.Texts;

    /// <summary>The texts of a pattern that ends normally: "unicode", "short", "long", or the default.
    /// </summary>
    public static IReadOnlyList<string> TextsOf(string pattern) => TestPattern.Of(pattern).Texts;

    /// <summary>Answers as the header X-Test-Pattern asks; without it, with the default answer.</summary>
    public static async Task RunAsync(FakeLlmExchange exchange)
    {
        var name = exchange.Request.Headers.GetValueOrDefault("X-Test-Pattern") ?? "";
        if (name.Length > 0)
            exchange.Context.Response.Headers["X-Test-Pattern-Applied"] = name;
        var pattern = TestPattern.Of(name);
        await exchange.StartAsync();
        await SendAsync(exchange, pattern.Texts);
        if (pattern.FinishReason is null)
            return;
        await PauseAsync(exchange);
        await exchange.SendFinishAsync(pattern.FinishReason);
        await PauseAsync(exchange);
        await exchange.SendDoneAsync();
    }

    private static async Task SendAsync(FakeLlmExchange exchange, IEnumerable<string> texts)
    {
        var first = true;
        foreach (var text in texts)
        {
            if (!first)
                await PauseAsync(exchange);
            first = false;
            await exchange.SendDeltaAsync(text);
        }
    }

    private static Task PauseAsync(FakeLlmExchange exchange) => exchange.ChunkDelayMs == 0
        ? Task.CompletedTask
        : Task.Delay(exchange.ChunkDelayMs, exchange.Context.RequestAborted);
}
