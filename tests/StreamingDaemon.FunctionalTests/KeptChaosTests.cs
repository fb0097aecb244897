using System.Diagnostics;
using System.Net.Sockets;
using StreamingDaemon.Testing.Chaos;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A few seconds of what <c>bench/Chaos --answers</c> does for ten minutes.</summary>
[Trait("Needs", "Tools")]
[Trait("Takes", "Long")]
public sealed class KeptChaosTests
{
    [Theory]
    [InlineData(false, 10)]
    [InlineData(true, 20)]
    public async Task Every_reader_of_a_kept_answer_gets_a_prefix_of_it_without_a_gap_or_a_repeat(bool shared, int seconds)
    {
        var seed = Environment.TickCount;
        await using var run = await KeptChaosRun.StartAsync(shared, seed);
        var watch = Stopwatch.StartNew();

        await run.PlayAsync(atOnce: 25, quietMs: 3_000, () => watch.Elapsed < TimeSpan.FromSeconds(seconds));
        var left = await run.SettleAsync();

        Assert.True(run.Complaints.Count == 0, $"seed {seed}: {string.Join('\n', run.Complaints)}");
        Assert.True(left.Count == 0, $"seed {seed}: {string.Join('\n', left)}");
        // All of it really happened.
        foreach (var what in (string[])["left", "stops", "ended Done ", "ended Error upstream_broke_off"])
            Assert.True(run.World.Counts.GetValueOrDefault(what) > 0, $"seed {seed}: no '{what}'");
        Assert.InRange(run.Deliveries.Arrived, 1, run.Deliveries.Requests - 1);
        Assert.Equal(shared, run.World.Counts.Keys.Any(what => what.StartsWith("fault", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Run_that_cannot_start_leaves_no_Redis_behind()
    {
        var port = 0;

        await Assert.ThrowsAsync<InvalidOperationException>(() => KeptChaosRun.StartAsync(
            shared: true, seed: 1, redis => $"[nothing]\nof = {port = redis}\n"));

        Assert.NotEqual(0, port);
        using var client = new TcpClient();
        await Assert.ThrowsAsync<SocketException>(() => client.ConnectAsync("127.0.0.1", port));
    }
}
