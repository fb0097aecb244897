using System.Diagnostics;
using System.Globalization;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The kernel closes what a process has open before the process disappears. Sockets whose packets
/// compute for long do not hold that up.</summary>
[Trait("Takes", "Long")]
[Trait("Seccomp", "No")]
public sealed class CostlyEndTests
{
    private const int Sockets = 100;
    private const int Met = 5;
    private const int Sigterm = 15;
    private const int ShutdownSeconds = 1;

    private static readonly TimeSpan s_costOfPacket = TimeSpan.FromMilliseconds(20);

    /// <summary>Beyond <c>shutdown_timeout_s</c>.</summary>
    private static readonly TimeSpan s_atMost = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task Daemon_ends_in_time_although_its_sockets_are_slow_to_close()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string>
            {
                ["STREAMING_DAEMON_TIMEOUTS__SHUTDOWN_TIMEOUT_S"] =
                    ShutdownSeconds.ToString(CultureInfo.InvariantCulture),
            }, true, "--delay", "1000");
        using var network = await HandOverAsync(daemon);

        var took = Stopwatch.StartNew();
        daemon.Signal(Sigterm);

        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.InRange(took.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(ShutdownSeconds) + s_atMost);
        await AllAreClosedAsync(network);
    }

    /// <summary>Returns when the daemon has met what some of the sockets cost.</summary>
    private static async Task<CostlyNetwork> HandOverAsync(DaemonProcess daemon)
    {
        var network = new CostlyNetwork(Sockets, s_costOfPacket);
        foreach (var (_, server) in network.Pairs)
        {
            TestClient.HandOverDescriptor(daemon.SocketPath, """{"prompt":"costly"}"""u8, (int)server.Handle);
            // The daemon's close is to be the last.
            server.Dispose();
        }

        await Eventually.TrueAsync(() => network.Pairs.Count(pair => pair.Browser.Available > 0) > Met);
        return network;
    }

    /// <summary>The kernel has not kept what was left to it.</summary>
    private static async Task AllAreClosedAsync(CostlyNetwork network)
    {
        foreach (var (browser, _) in network.Pairs)
            _ = await TestClient.ReadTextAsync(browser);
    }
}
