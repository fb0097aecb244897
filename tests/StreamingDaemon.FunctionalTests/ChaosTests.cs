using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Chaos;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A few seconds of what <c>bench/Chaos</c> does for ten minutes.</summary>
[Trait("Takes", "Long")]
public sealed class ChaosTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Every_handoff_has_one_outcome_and_every_reader_a_whole_answer_whatever_the_others_do(int rings)
    {
        var seed = Environment.TickCount;
        await using var run = await ChaosRun.StartAsync(maxConnections: 160, rings);

        await run.PlayAsync(200, seed, handoffs => handoffs < 5_000);
        var outcomes = await run.SettleAsync();

        Assert.True(run.Complaints.Count == 0, $"seed {seed}: {string.Join('\n', run.Complaints)}");
        Assert.Equal(run.Handoffs, outcomes.Values.Sum());
        Assert.InRange(run.Daemon.OpenSockets() - run.KeptConnections(), 0, run.SocketsAtRest);
        Assert.DoesNotContain(run.Daemon.LogLines("\"@l\":\"Error\""), line => !ChaosOperator.IsOfMaking(line));
        Assert.True(run.Operator.Refusals > 0, $"seed {seed}: no reload was refused");
        Assert.DoesNotContain(OddFile.Secret, run.Daemon.ErrorText, StringComparison.Ordinal);
        // The faults really happened.
        foreach (var outcome in (string[])["openai/Completed", "mock/Completed", "openai/UpstreamError",
            "openai/UpstreamTimeout", "openai/UpstreamTruncated", "openai/ClientGone", "none/BadHandoff"])
        {
            Assert.True(outcomes.GetValueOrDefault(outcome) > 0, $"seed {seed}: no {outcome}");
        }
    }
}
