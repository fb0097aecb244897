using System.Diagnostics;
using System.Globalization;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Before a process disappears, the kernel closes what it has open. Sockets whose packets compute for
/// long do not delay that, from Linux 6.9 on.</summary>
[Trait("Takes", "Long")]
[Trait("Seccomp", "No")]
[Trait("Machine", "Alone")]
public sealed class CostlyEndTests
{
    private const int Sockets = 100;
    private const int Met = 5;
    private const int Sigterm = 15;
    private const int ShutdownSeconds = 1;

    private static readonly TimeSpan s_costOfPacket = TimeSpan.FromMilliseconds(20);

    /// <summary>How much longer than <c>shutdown_timeout_s</c> the end may take.</summary>
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

    /// <summary>Returns when the daemon has made costly calls on some of the sockets.</summary>
    private static async Task<CostlyNetwork> HandOverAsync(DaemonProcess daemon)
    {
        var network = new CostlyNetwork(Sockets, s_costOfPacket);
        network.Begin();
        foreach (var (_, server) in network.Pairs)
        {
            TestClient.HandOverDescriptor(daemon.SocketPath, """{"prompt":"costly"}"""u8, (int)server.Handle);
            // The daemon must hold the last descriptor, so that its close is the one that sends a packet.
            server.Dispose();
        }

        await Eventually.TrueAsync(() => network.Pairs.Count(pair => pair.Browser.Available > 0) > Met);
        return network;
    }

    /// <summary>The kernel also closes the sockets that were given to it.</summary>
    private static async Task AllAreClosedAsync(CostlyNetwork network)
    {
        foreach (var (browser, _) in network.Pairs)
            _ = await TestClient.ReadTextAsync(browser);
    }
}
