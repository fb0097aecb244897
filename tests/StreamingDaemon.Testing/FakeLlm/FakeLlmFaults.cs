using System.Globalization;

namespace StreamingDaemon.Testing;

/// <summary>
/// Faults of an upstream after it has read a request, by name. Every error text quotes <see cref="Secret"/>,
/// as servers quote prompts: the secret must not appear anywhere.
/// </summary>
public static class FakeLlmFaults
{
    /// <summary>The secret that every error text quotes.</summary>
    public const string Secret = "my secret diagnosis";

    /// <summary>The text of the delta before a fault in the middle of an answer.</summary>
    public const string Begun = "begun";

    private const string ErrorJson =
        "{\"error\":{\"message\":\"you said: " + Secret + "\",\"type\":\"some_error\",\"code\":\"" + Secret + "\"}}";

    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    private static readonly Dictionary<string, Func<FakeLlmExchange, Task>> s_faults = new()
    {
        ["says_nothing"] = exchange => exchange.WaitForAbortAsync(s_limit),
        ["silent_after_head"] = Started(exchange => exchange.WaitForAbortAsync(s_limit)),
        ["silent_mid_stream"] = Begin(exchange => exchange.WaitForAbortAsync(s_limit)),
        ["only_comments"] = Begin(CommentForeverAsync),
        ["redirect"] = exchange =>
        {
            exchange.Context.Response.Headers.Location = exchange.Request.Path;
            return exchange.StartAsync(307, null);
        },
        ["json_instead_of_events"] = exchange => exchange.RespondAsync(200, "application/json", ErrorJson),
        ["html_instead_of_events"] = exchange => exchange.RespondAsync(200, "text/html", $"<p>{Secret}</p>"),
        ["no_content_type"] = exchange => exchange.RespondAsync(200, null!, Secret),
        ["secret_content_type"] = exchange => exchange.RespondAsync(200, Secret, Secret),
        ["reset_before_head"] = exchange =>
        {
            exchange.Reset();
            return Task.CompletedTask;
        },
        ["reset_before_events"] = Started(async exchange =>
        {
            await exchange.SendRawAsync(": hello\n\n");
            await exchange.Proceed;
            exchange.Reset();
        }),
        ["reset_inside_event"] = Begin(async exchange =>
        {
            await exchange.SendRawAsync("data: {\"choices\":[{\"delta\":{\"content\":\"hal");
            await exchange.Proceed;
            exchange.Reset();
        }),
        ["reset_between_events"] = Begin(async exchange =>
        {
            await exchange.Proceed;
            exchange.Reset();
        }),
        ["lost_connection"] = Begin(async exchange =>
        {
            await exchange.Proceed;
            exchange.AbortConnection();
        }),
        ["truncated"] = Begin(_ => Task.CompletedTask),
        ["truncated_inside_event"] = Begin(exchange => exchange.SendRawAsync("data: {\"choices\":[{\"del")),
        ["empty_stream"] = Started(_ => Task.CompletedTask),
        ["malformed_chunk"] = Begin(exchange => exchange.SendRawAsync($"data: {{\"choices\":{Secret}\n\n")),
        ["line_of_64_mb"] = Begin(exchange => FloodAsync(exchange, 64 * 1024 * 1024)),
        ["error_event"] = Begin(exchange => exchange.SendRawAsync($"data: {ErrorJson}\n\n")),
        ["error_event_first"] = Started(exchange => exchange.SendRawAsync($"data: {ErrorJson}\n\n")),
        ["finish_length"] = Begin(exchange => FinishAsync(exchange, "length")),
        ["finish_content_filter"] = Begin(exchange => FinishAsync(exchange, "content_filter")),
        ["finish_without_done"] = Begin(exchange => exchange.SendFinishAsync()),
    };

    /// <summary>The scenario of that name, or <c>status_NNN_BODY</c>, with BODY one of <c>json</c>,
    /// <c>html</c>, <c>empty</c>, <c>endless</c>.</summary>
    public static Func<FakeLlmExchange, Task> Named(string name)
    {
        if (s_faults.TryGetValue(name, out var scenario))
            return scenario;
        var parts = name.Split('_');
        return Status(int.Parse(parts[1], CultureInfo.InvariantCulture), parts[2]);
    }

    private static Func<FakeLlmExchange, Task> Status(int status, string body) => body switch
    {
        "json" => exchange => exchange.RespondAsync(status, "application/json", ErrorJson),
        "html" => exchange => exchange.RespondAsync(status, "text/html", $"<h1>{Secret}</h1>"),
        "empty" => exchange => exchange.StartAsync(status, null),
        "endless" => async exchange =>
        {
            await exchange.StartAsync(status, "text/plain");
            while (true)
                await exchange.SendRawAsync(Secret);
        }
        ,
        _ => throw new ArgumentOutOfRangeException(nameof(body), body, "no such body"),
    };

    private static Func<FakeLlmExchange, Task> Started(Func<FakeLlmExchange, Task> then) => async exchange =>
    {
        await exchange.StartAsync();
        await then(exchange);
    };

    private static Func<FakeLlmExchange, Task> Begin(Func<FakeLlmExchange, Task> then) => Started(async exchange =>
    {
        await exchange.SendDeltaAsync(Begun);
        await then(exchange);
    });

    private static async Task CommentForeverAsync(FakeLlmExchange exchange)
    {
        while (true)
        {
            await exchange.SendRawAsync(": still thinking\n\n");
            await Task.Delay(20, exchange.Context.RequestAborted);
        }
    }

    private static async Task FinishAsync(FakeLlmExchange exchange, string reason)
    {
        await exchange.SendFinishAsync(reason);
        await exchange.SendDoneAsync();
    }

    private static async Task FloodAsync(FakeLlmExchange exchange, int bytes)
    {
        var piece = new byte[64 * 1024];
        Array.Fill(piece, (byte)'z');
        await exchange.SendRawAsync("data: ");
        for (var sent = 0; sent < bytes; sent += piece.Length)
            await exchange.SendRawAsync(piece);
        await exchange.WaitForAbortAsync(s_limit);
    }
}
