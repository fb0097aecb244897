using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>SIGHUP: reloadable options change, and a file with an error changes nothing.</summary>
[Trait("Quick", "Yes")]
public sealed class ReloadTests : IDisposable
{
    private const int SigHup = 1;
    private readonly TempDirectory _directory = new();
    private readonly string _file;

    public ReloadTests() => _file = _directory.File("c.toml");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Timeouts_hold_for_running_streams_and_for_the_loop()
    {
        await using var daemon = await StartAsync(
            "[mock]\nlatency_ms = 60000\n[timeouts]\nhandoff_timeout_ms = 60000\n");
        using var running = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(running, "\r\n\r\n");

        await ReloadAsync(daemon,
            "[mock]\nlatency_ms = 60000\n[timeouts]\nstream_timeout_ms = 100\nhandoff_timeout_ms = 100\n");

        Assert.Contains("data: {\"error\":", await TestClient.ReadTextAsync(running), StringComparison.Ordinal);
        Assert.Equal("StreamTimeout", await daemon.OutcomeAsync());
        // A peer that connects and sends nothing.
        using var silent = Posix.ToSocket(Posix.ConnectUnix(daemon.SocketPath, Posix.SockSeqPacket));
        await Eventually.TrueAsync(() => daemon.LogLines("TimedOut").Count == 1);
    }

    [Fact]
    public async Task Rate_limits_are_taken_over_on_sighup()
    {
        await using var daemon = await StartAsync("[mock]\ndelay_ms = 0\n");
        Assert.True((await daemon.AskAsync("""{"user_id":7}""")).IsDone);

        await ReloadAsync(daemon, "[mock]\ndelay_ms = 0\n[rate_limit]\nrequests = 1\nwindow_s = 600\n");
        Assert.True((await daemon.AskAsync("""{"user_id":7}""")).IsDone);
        Assert.StartsWith("HTTP/1.1 429", (await daemon.AskAsync("""{"user_id":7}""")).StatusLine,
            StringComparison.Ordinal);

        await ReloadAsync(daemon, "[mock]\ndelay_ms = 0\n");
        Assert.True((await daemon.AskAsync("""{"user_id":7}""")).IsDone);
    }

    [Fact]
    public async Task Log_level_holds_from_the_next_line_on()
    {
        var log = _directory.File("log");
        await File.WriteAllTextAsync(_file, "[logging]\nlevel = \"error\"\n");
        using var manager = new NotifySocket(_directory, isAbstract: false);
        await using var daemon = await LaunchedDaemon.StartByAsync(
            $"NOTIFY_SOCKET={manager.Name} exec \"$@\" 2>{log}", "--delay", "0", "--config", _file);
        // The socket listens before the line about it would be logged.
        _ = await manager.NextAsync("READY=1");

        await File.WriteAllTextAsync(_file, "[logging]\nlevel = \"information\"\n");
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => File.ReadAllText(log).Contains("reloaded", StringComparison.Ordinal));
        Assert.True((await daemon.AskAsync("""{"request_id":"after"}""")).IsDone);

        await Eventually.TrueAsync(() => File.ReadAllText(log).Contains("\"after\"", StringComparison.Ordinal));
        // What it said at its start.
        Assert.DoesNotContain("listening on", await File.ReadAllTextAsync(log), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Daemon_that_was_started_with_sighup_ignored_reloads_all_the_same()
    {
        var log = _directory.File("log");
        await File.WriteAllTextAsync(_file, "");
        // nohup does this, and so does apt for the services that its packages start.
        await using var daemon = await LaunchedDaemon.StartByAsync(
            $"trap '' HUP; exec \"$@\" 2>{log}", "--delay", "0", "--config", _file);

        daemon.Signal(SigHup);

        await Eventually.TrueAsync(() => File.ReadAllText(log).Contains("reloaded", StringComparison.Ordinal));
    }

    [Fact]
    public async Task File_with_a_mistake_keeps_the_old_settings_and_is_named_with_its_line()
    {
        await using var daemon = await StartAsync("[timeouts]\nshutdown_timeout_s = 7\n");

        await File.WriteAllTextAsync(_file, "[logging]\nlevel = \"error\"\n[timeouts]\nshutdown_timeout_s = 0\n");
        daemon.Signal(SigHup);

        await Eventually.TrueAsync(() => daemon.LogLines("not reloaded").Count == 1);
        Assert.Contains($"{_file}:4", daemon.LogLines("not reloaded")[0], StringComparison.Ordinal);
        // The level did not change either, although its line was valid.
        Assert.True((await daemon.AskAsync("{}")).IsDone);
        _ = await daemon.AccessLogAsync(1);
        daemon.Signal(15);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Contains("\"Seconds\":7", Assert.Single(daemon.LogLines("no new handoffs")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_needs_a_restart_is_named_and_the_rest_is_taken_over()
    {
        await using var daemon = await StartAsync("");

        await ReloadAsync(daemon,
            "[server]\nmax_connections = 5\n[timeouts]\nconnect_timeout_ms = 5\nshutdown_timeout_s = 3\n");

        await Eventually.TrueAsync(() => daemon.LogLines("after a restart").Count == 1);
        var line = daemon.LogLines("after a restart")[0];
        Assert.Contains("server.max_connections, timeouts.connect_timeout_ms", line, StringComparison.Ordinal);
        Assert.DoesNotContain("shutdown_timeout_s", line, StringComparison.Ordinal);
        Assert.Contains("timeouts.shutdown_timeout_s", daemon.LogLines("\"Changed\"")[0], StringComparison.Ordinal);
        Assert.Contains("streaming_daemon_connections_max 10000\n", await daemon.MetricsAsync(),
            StringComparison.Ordinal);
    }

    private async Task<DaemonProcess> StartAsync(string toml)
    {
        await File.WriteAllTextAsync(_file, toml);
        return await DaemonProcess.StartAsync("--delay", "0", "--config", _file);
    }

    private async Task ReloadAsync(DaemonProcess daemon, string toml)
    {
        var before = daemon.LogLines("\"Changed\"").Count;
        await File.WriteAllTextAsync(_file, toml);
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Changed\"").Count > before);
    }
}
