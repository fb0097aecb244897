using System.Globalization;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>What the upstream does to a stream, chosen by the handoff's <c>test_pattern</c>.</summary>
public enum UpstreamFate
{
    Whole,
    Slow,
    Flood,
    Refuse400,
    Refuse401,
    Refuse429,
    Refuse500,
    Refuse503,
    Html,
    NoAnswer,
    ResetBeforeHead,
    ResetBetweenEvents,
    ResetInsideAnEvent,
    SilentAfterAnEvent,
    CommentsOnly,
    Truncated,
    Malformed,
    ErrorEvent,
}

/// <summary>An upstream that treats each stream as its request asks.</summary>
public static class ChaosUpstream
{
    private const int Floods = 20;
    private const int Words = 8;
    private static readonly string s_large = new('x', 60_000);

    /// <summary>The content events of a complete answer.</summary>
    public static IReadOnlyList<string> EventsOf(UpstreamFate fate) => fate switch
    {
        UpstreamFate.Whole or UpstreamFate.Slow =>
            [ChaosAnswer.Event("first"), .. Enumerable.Range(0, Words).Select(i => ChaosAnswer.Event($" word {i}"))],
        UpstreamFate.Flood => [ChaosAnswer.Event("first"), .. Enumerable.Repeat(ChaosAnswer.Event(s_large), Floods)],
        _ => [ChaosAnswer.Event("first")],
    };

    public static async Task AnswerAsync(FakeLlmExchange exchange)
    {
        var fate = exchange.Request.Headers.TryGetValue("X-Test-Pattern", out var name)
            ? Enum.Parse<UpstreamFate>(name) : UpstreamFate.Whole;
        try
        {
            await AnswerAsync(exchange, fate);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or TimeoutException)
        {
            // The daemon has closed the stream; some fates wait for that.
        }
    }

    private static async Task AnswerAsync(FakeLlmExchange exchange, UpstreamFate fate)
    {
        var left = exchange.Context.RequestAborted;
        switch (fate)
        {
            case UpstreamFate.Refuse400 or UpstreamFate.Refuse401 or UpstreamFate.Refuse429
                or UpstreamFate.Refuse500 or UpstreamFate.Refuse503:
                var status = int.Parse(fate.ToString().AsSpan(6), CultureInfo.InvariantCulture);
                await exchange.RespondAsync(status, "application/json", """{"error":{"message":"no"}}""");
                return;
            case UpstreamFate.Html:
                await exchange.RespondAsync(200, "text/html", "<html>welcome</html>");
                return;
            case UpstreamFate.NoAnswer:
                await Task.Delay(Timeout.Infinite, left);
                return;
            case UpstreamFate.ResetBeforeHead:
                exchange.Reset();
                return;
        }

        await exchange.StartAsync();
        await exchange.SendDeltaAsync("first");
        switch (fate)
        {
            case UpstreamFate.ResetBetweenEvents:
                exchange.Reset();
                return;
            case UpstreamFate.ResetInsideAnEvent:
                await exchange.SendRawAsync("data: {\"choices\":[{\"del");
                exchange.Reset();
                return;
            case UpstreamFate.SilentAfterAnEvent:
                await Task.Delay(Timeout.Infinite, left);
                return;
            case UpstreamFate.CommentsOnly:
                while (true)
                {
                    await exchange.SendRawAsync(": still here\n\n");
                    await Task.Delay(100, left);
                }

            case UpstreamFate.Malformed:
                await exchange.SendRawAsync("data: {\"choices\"\n\n");
                return;
            case UpstreamFate.ErrorEvent:
                await exchange.SendRawAsync("data: {\"error\":{\"message\":\"overloaded\"}}\n\n");
                return;
            case UpstreamFate.Truncated:
                return;
            case UpstreamFate.Flood:
                for (var i = 0; i < Floods; i++)
                    await exchange.SendDeltaAsync(s_large);
                break;
            default:
                for (var i = 0; i < Words; i++)
                {
                    await exchange.SendDeltaAsync($" word {i}");
                    await Task.Delay(fate == UpstreamFate.Slow ? 50 : 5, left);
                }

                break;
        }

        await exchange.SendFinishAsync();
        await exchange.SendDoneAsync();
    }
}
