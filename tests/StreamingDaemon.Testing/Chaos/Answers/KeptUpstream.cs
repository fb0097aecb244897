using System.Collections.Concurrent;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>The model of the chaos of kept answers: it says what the prompt's plan says, and counts its calls.
/// </summary>
public sealed class KeptUpstream
{
    private readonly ConcurrentDictionary<string, int> _calls = new();

    /// <summary>How often the answer was asked for.</summary>
    public int Calls(string id) => _calls.GetValueOrDefault(id);

    public void Forget(string id) => _calls.TryRemove(id, out _);

    public async Task AnswerAsync(FakeLlmExchange exchange)
    {
        try
        {
            await AnswerAsync(exchange, KeptPlan.Of(exchange.Request.Body));
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or TimeoutException)
        {
            // The daemon has closed the stream: it was stopped, or nobody read it.
        }
    }

    private async Task AnswerAsync(FakeLlmExchange exchange, KeptPlan plan)
    {
        var call = _calls.AddOrUpdate(plan.Id, 1, (_, calls) => calls + 1);
        var left = exchange.Context.RequestAborted;
        await exchange.StartAsync();
        if (plan.Fate == KeptFate.FailsEmpty && call == 1)
        {
            await Task.Delay(plan.PauseMs * 5, left);
            await exchange.SendRawAsync("data: {\"error\":{\"code\":\"invalid_api_key\"}}\n\n");
            return;
        }

        var pieces = plan.Fate is KeptFate.Truncated or KeptFate.Reset or KeptFate.ErrorEvent or KeptFate.Silent
            ? plan.Pieces / 2 : plan.Pieces;
        for (var piece = 1; piece <= pieces; piece++)
        {
            await exchange.SendDeltaAsync(plan.Piece(call, piece));
            if (plan.PauseMs > 0)
                await Task.Delay(plan.PauseMs, left);
        }

        switch (plan.Fate)
        {
            case KeptFate.Truncated:
                return;
            case KeptFate.Reset:
                exchange.Reset();
                return;
            case KeptFate.ErrorEvent:
                await exchange.SendRawAsync("data: {\"error\":{\"message\":\"overloaded\"}}\n\n");
                return;
            case KeptFate.Silent:
                await Task.Delay(Timeout.Infinite, left);
                return;
        }

        await exchange.SendFinishAsync();
        await exchange.SendDoneAsync();
    }
}
