using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Things that must not delay a stop.</summary>
[Trait("Takes", "Long")]
public sealed class StopTests
{
    private const int SigInt = 2;
    private const int SigTerm = 15;

    [Theory]
    [InlineData]
    [InlineData("--benchmark")]
    public async Task Log_that_nobody_reads_does_not_hold_the_end(params string[] more)
    {
        using var log = new FullPipe();
        await using var daemon = await LaunchedDaemon.StartAsync($"2>{log.Path}", ["--delay", "0", .. more]);
        Assert.True((await daemon.AskAsync("{}")).IsDone);

        daemon.Signal(SigTerm);

        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Log_that_nobody_reads_does_not_hold_the_second_signal()
    {
        using var log = new FullPipe();
        await using var daemon = await LaunchedDaemon.StartAsync($"2>{log.Path}", "--delay", "20000");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(client, "\n\n");

        daemon.Signal(SigTerm);
        await Eventually.TrueAsync(() => !File.Exists(daemon.SocketPath));
        await Posix.KillUntilAsync(daemon.Process.Id, SigInt, () => daemon.Process.HasExited);

        Assert.Equal(130, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Log_that_nobody_reads_does_not_hold_a_start_that_fails()
    {
        using var log = new FullPipe();
        await using var first = await DaemonProcess.StartAsync();
        await using var second = await LaunchedDaemon.StartAsync($"2>{log.Path}",
            "--metrics", $"{first.MetricsPort}");

        Assert.Equal(1, await second.ExitCodeAsync());
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Loop_that_does_not_turn_does_not_hold_the_end()
    {
        using var directory = new TempDirectory();
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_TIMEOUTS__SHUTDOWN_TIMEOUT_S"] = "1" }, false);
        using var holder = await HeldThread.HoldLoopAsync(directory, daemon.Pid);

        daemon.Signal(SigTerm);

        await Eventually.TrueAsync(() => daemon.LogLines("the loop does not turn").Count == 1);
        // A process is not reaped while one of its threads is traced.
        await holder.ReleaseAsync();
        Assert.Equal(1, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Unfinished_http_request_does_not_hold_the_end()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        using var scraper = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await scraper.ConnectAsync(new IPEndPoint(IPAddress.Loopback, daemon.MetricsPort));
        await scraper.SendAsync("GET /metr"u8.ToArray());
        // A later connection has its answer, so the daemon has accepted this one too.
        _ = await daemon.HealthAsync();

        daemon.Signal(SigTerm);

        // 15 s is below the 30 s that a .NET host waits by default.
        Assert.Equal(0, await daemon.ExitCodeAsync().WaitAsync(TimeSpan.FromSeconds(15)));
    }
}
