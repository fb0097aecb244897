using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The protocols of systemd: a passed socket, and notifications to the manager.</summary>
public sealed class ServiceManagerTests : IDisposable
{
    private const int SigHup = 1;
    private const int SigTerm = 15;
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Passed_socket_is_served_and_its_queue_waits_for_the_next_start()
    {
        var path = _directory.File("s");
        using var manager = StartManager("seqpacket", path, "--socket", _directory.File("unused"), "--delay", "0");
        var pid = await StartedAsync(manager);
        using (var first = TestClient.HandOver(path, "{}"))
            Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(first)).IsDone);

        Posix.Kill(pid, SigTerm);
        Assert.Equal("ended 0", await manager.StandardOutput.ReadLineAsync());
        Assert.True(File.Exists(path));
        Assert.False(File.Exists(_directory.File("unused")));
        using var between = TestClient.HandOver(path, "{}");

        await manager.StandardInput.WriteLineAsync();
        pid = await StartedAsync(manager);
        Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(between)).IsDone);
        Posix.Kill(pid, SigTerm);
        Assert.Equal("ended 0", await manager.StandardOutput.ReadLineAsync());
        manager.StandardInput.Close();
        await manager.WaitForExitAsync().WaitAsync(TestClient.Patience);
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Passed_socket_of_the_wrong_type_ends_the_start_and_the_error_says_how_to_fix_it()
    {
        using var manager = StartManager("stream", _directory.File("s"));

        _ = await StartedAsync(manager);

        Assert.Equal("ended 1", await manager.StandardOutput.ReadLineAsync());
        manager.StandardInput.Close();
        Assert.Contains("ListenSequentialPacket=", await manager.StandardError.ReadToEndAsync(),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Manager_is_told_of_start_reload_and_stop(bool isAbstract)
    {
        using var manager = new NotifySocket(_directory, isAbstract);
        await using var daemon = await StartAsync(manager);
        var ready = await manager.NextAsync("READY=1");
        Assert.Contains($"STATUS=listening on {daemon.SocketPath}", ready, StringComparison.Ordinal);

        daemon.Signal(SigHup);
        var reloading = await manager.NextAsync("RELOADING=1");
        var since = reloading.Split('\n').Single(l => l.StartsWith("MONOTONIC_USEC=", StringComparison.Ordinal));
        var now = Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000_000);
        Assert.InRange(long.Parse(since["MONOTONIC_USEC=".Length..], null), now - 60_000_000, now);
        _ = await manager.NextAsync("READY=1");

        daemon.Signal(SigTerm);
        Assert.Contains("EXTEND_TIMEOUT_USEC=130000000", await manager.NextAsync("STOPPING=1"),
            StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.DoesNotContain(manager.Seen, m => m.StartsWith("WATCHDOG", StringComparison.Ordinal));
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Manager_is_told_of_a_reload_that_is_given_up()
    {
        var file = _directory.File("c.toml");
        await File.WriteAllTextAsync(file, "");
        using var manager = new NotifySocket(_directory, isAbstract: false);
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["NOTIFY_SOCKET"] = manager.Name }, false, "--config", file);
        _ = await manager.NextAsync("READY=1");
        using var held = await HeldOpen.OfAsync(_directory, file);

        daemon.Signal(SigHup);

        _ = await manager.NextAsync("RELOADING=1");
        Assert.Contains($"STATUS=not reloaded: {file}: does not answer", await manager.NextAsync("READY=1"),
            StringComparison.Ordinal);
        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Theory]
    [Trait("Needs", "Tools")]
    [InlineData(1, "io_uring loop")]
    [InlineData(2, "io_uring loop 2")]
    public async Task Watchdog_is_fed_only_while_the_loop_turns(int rings, string loop)
    {
        using var manager = new NotifySocket(_directory, isAbstract: false);
        await using var daemon = await StartAsync(manager, ("WATCHDOG_USEC", "200000"),
            ("STREAMING_DAEMON_PERFORMANCE__RINGS", $"{rings}"));
        _ = await manager.NextAsync("WATCHDOG=1");

        using var holder = await HeldThread.HoldLoopAsync(_directory, daemon.Pid, loop);
        // Each request to a stuck loop takes about a second. After the first, no WATCHDOG=1 is on its way.
        Assert.Equal("stuck", (await daemon.HealthAsync("/health/live")).Body.GetProperty("status").GetString());
        var before = manager.Seen.Count;
        Assert.Equal("stuck", (await daemon.HealthAsync("/health/live")).Body.GetProperty("status").GetString());
        Assert.Equal(before, manager.Seen.Count);

        await holder.ReleaseAsync();
        _ = await manager.NextAsync("WATCHDOG=1");
    }

    [Fact]
    public async Task Daemon_runs_on_if_the_service_manager_is_gone()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["NOTIFY_SOCKET"] = _directory.File("nobody") }, false, "--delay", "0");

        Assert.True((await daemon.AskAsync("{}")).IsDone);
        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    private static Task<DaemonProcess> StartAsync(NotifySocket manager, params (string, string)[] more)
    {
        var environment = more.ToDictionary();
        environment["NOTIFY_SOCKET"] = manager.Name;
        return DaemonProcess.StartAsync(environment, true, "--delay", "0");
    }

    private Process StartManager(string type, string path, params string[] arguments)
    {
        var start = DaemonProcess.StartInfo(null, _directory.Path, arguments,
            CTool.Compile(_directory, "listen-exec"), type, path);
        return Process.Start(start)!;
    }

    private static async Task<int> StartedAsync(Process manager)
    {
        var line = await manager.StandardOutput.ReadLineAsync().WaitAsync(TestClient.Patience);
        return int.Parse(line!["started ".Length..], null);
    }
}
