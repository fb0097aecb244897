using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary><c>performance.rings</c>: with several loops, the daemon behaves the same.</summary>
public sealed class SeveralRingsTests
{
    private static int LoopsOf(DaemonProcess daemon) => Directory.GetDirectories($"/proc/{daemon.Pid}/task")
        .Count(task => File.ReadAllText($"{task}/comm").StartsWith("io_uring loop", StringComparison.Ordinal));

    [Fact]
    public async Task Every_stream_is_whole_counted_once_and_ended_by_a_drain()
    {
        await using var daemon = await DaemonProcess.StartAsync("--rings", "3", "--delay", "20");
        Assert.Equal(3, LoopsOf(daemon));
        var atRest = daemon.OpenSockets();

        var answers = Enumerable.Range(0, 60).Select(_ => daemon.AskAsync("{}")).ToList();
        // The sockets of the idle daemon, and sixty clients.
        await Eventually.TrueAsync(() => daemon.OpenSockets() >= atRest + 60);
        daemon.Signal(15);

        Assert.All(await Task.WhenAll(answers), answer => Assert.True(answer.IsDone));
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Equal(60, daemon.LogLines("\"Outcome\":\"Completed\"").Count);
    }

    [Fact]
    public async Task Zero_rings_is_one_ring_for_each_core()
    {
        await using var daemon = await DaemonProcess.StartAsync("--rings", "0", "--delay", "0");

        Assert.Equal(Environment.ProcessorCount, LoopsOf(daemon));
        Assert.True((await daemon.AskAsync("{}")).IsDone);
    }
}
