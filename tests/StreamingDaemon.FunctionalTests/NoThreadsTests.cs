using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The limit of tasks is reached while the daemon runs.</summary>
[Trait("Takes", "Long")]
[Trait("Seccomp", "No")]
public sealed class NoThreadsTests : IDisposable
{
    private const int SigHup = 1;
    private const int SigInt = 2;
    private const int SigTerm = 15;
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>Idle workers of the thread pool end at once, unless they are kept alive.</summary>
    private const string NoIdleWorkers = "DOTNET_ThreadPool_ThreadTimeoutMs=1";

    private string Log => _directory.File("log");

    [Theory]
    [InlineData(SigTerm)]
    [InlineData(SigInt)]
    public async Task Signal_without_a_free_thread_drains_and_streams_end_whole(int signal)
    {
        await using var daemon = await NoThreads.StartAsync($"2>{Log}", [NoIdleWorkers], "--delay", "100");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        var answer = await TestClient.ReadUntilAsync(client, "\n\n");
        await NoThreads.ExhaustAsync(daemon.Process.Id);

        daemon.Signal(signal);

        answer += await TestClient.ReadTextAsync(client);
        Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.False(File.Exists(daemon.SocketPath));
        Assert.Contains("draining", await File.ReadAllTextAsync(Log), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Second_signal_without_a_free_thread_ends_at_once(bool isLogFull)
    {
        using var full = new FullPipe();
        await using var daemon = await NoThreads.StartAsync(
            $"2>{(isLogFull ? full.Path : Log)}", [NoIdleWorkers], "--delay", "20000");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(client, "\n\n");
        await NoThreads.ExhaustAsync(daemon.Process.Id);

        daemon.Signal(SigTerm);
        await Eventually.TrueAsync(() => !File.Exists(daemon.SocketPath));
        await Posix.KillUntilAsync(daemon.Process.Id, SigInt, () => daemon.Process.HasExited);

        Assert.Equal(130, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Reload_without_a_free_thread_is_made_on_the_thread_that_waits_for_it()
    {
        var file = _directory.File("c.toml");
        await File.WriteAllTextAsync(file, "");
        File.SetUnixFileMode(_directory.Path, (UnixFileMode)0x1FF);
        await using var daemon = await NoThreads.StartAsync($"2>{Log}", [NoIdleWorkers], "--config", file);
        await NoThreads.ExhaustAsync(daemon.Process.Id);

        for (var i = 1; i <= 3; i++)
        {
            await File.WriteAllTextAsync(file, $"[timeouts]\nidle_timeout_ms = {i}\n");
            daemon.Signal(SigHup);
            await Eventually.TrueAsync(() => Count("\"Changed\":\"timeouts.idle_timeout_ms\"") == i);
        }

        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Streams_without_a_free_thread_are_received_served_timed_out_and_drained()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("hello");
            if (exchange.Request.Headers.ContainsKey("X-Test-Pattern"))
                await exchange.WaitForAbortAsync(TestClient.Patience);
            else
                await exchange.SendDoneAsync();
        };
        // No metrics port, so that only the streams use the runtime's sockets.
        await using var daemon = await NoThreads.StartAsync($"2>{Log}",
            [NoIdleWorkers, .. upstream.OpenAIEnvironment(false).Select(pair => $"{pair.Key}={pair.Value}"),
                "STREAMING_DAEMON_TIMEOUTS__IDLE_TIMEOUT_MS=300"], "--backend", "openai");
        await NoThreads.ExhaustAsync(daemon.Process.Id);

        var whole = await daemon.AskAsync("""{"prompt":"x"}""");
        var cut = await daemon.AskAsync("""{"prompt":"x","test_pattern":"silent"}""");
        var many = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => daemon.AskAsync("""{"prompt":"x"}""")));
        daemon.Signal(SigTerm);

        Assert.True(whole.IsDone);
        Assert.All(many, answer => Assert.True(answer.IsDone));
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Equal(1, Count("\"Outcome\":\"UpstreamTimeout\""));
        Assert.False(cut.IsDone);
    }

    [Fact]
    public async Task Health_and_metrics_answer_without_a_free_thread()
    {
        var port = DaemonProcess.FreePort();
        await using var daemon = await NoThreads.StartAsync(
            $"2>{Log}", [NoIdleWorkers], "--metrics", $"{port}", "--delay", "0");
        await NoThreads.ExhaustAsync(daemon.Process.Id);
        using var http = new HttpClient
        {
            BaseAddress = new Uri($"http://127.0.0.1:{port}"),
            Timeout = TestClient.Patience,
        };

        for (var i = 0; i < 20; i++)
        {
            Assert.Contains("\"status\":\"ok\"", await http.GetStringAsync("/health"), StringComparison.Ordinal);
            Assert.True((await http.GetAsync("/health/live")).IsSuccessStatusCode);
            Assert.True((await daemon.AskAsync("{}")).IsDone);
        }

        var metrics = await http.GetStringAsync("/metrics");
        Assert.Contains("streaming_daemon_streams_total", metrics, StringComparison.Ordinal);
        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Held_lock_without_a_free_thread_holds_up_no_other_stream()
    {
        await using var daemon = await NoThreads.StartAsync($"2>{Log}", [NoIdleWorkers], "--delay", "20");
        await using var readers = new SteadyReaders(daemon.SocketPath, 50);
        await Eventually.TrueAsync(() => readers.Begun == readers.Readers);
        await NoThreads.ExhaustAsync(daemon.Process.Id);

        // More acts, one after the other, than there are spare threads.
        for (var i = 0; i < 5; i++)
        {
            using var peer = new HostilePeer(daemon.SocketPath);
            await peer.CommitAsync("LockHeldLater");
            await Eventually.TrueAsync(() => Hung(daemon));
            var before = readers.Events;
            await Eventually.TrueAsync(() => readers.Events > before + 1000);
            Assert.True((await daemon.AskAsync("{}")).IsDone);
            Assert.True(Hung(daemon));
        }

        Assert.Empty(readers.Complaints);
    }

    /// <summary>No thread is left to take over the loop: all wait for the holder, and none loses anything.
    /// </summary>
    [Fact]
    public async Task More_held_locks_than_spare_threads_cost_time_and_no_answer()
    {
        await using var daemon = await NoThreads.StartAsync($"2>{Log}", [NoIdleWorkers], "--delay", "20");
        using var other = TestClient.HandOver(daemon.SocketPath, """{"prompt":"x"}""");
        var answer = await TestClient.ReadUntilAsync(other, "\n\n");
        await NoThreads.ExhaustAsync(daemon.Process.Id);
        using (var peer = new HostilePeer(daemon.SocketPath))
        {
            // One more than spare threads: the last finds none.
            for (var held = 1; held <= 4; held++)
            {
                await peer.CommitAsync("LockHeldLater");
                await Eventually.TrueAsync(() => HungThreads(daemon) == held);
            }
        }

        answer += await TestClient.ReadTextAsync(other);
        Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
        Assert.True((await daemon.AskAsync("{}")).IsDone);
        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    private static bool Hung(LaunchedDaemon daemon) => HungThreads(daemon) > 0;

    private static int HungThreads(LaunchedDaemon daemon) =>
        Directory.GetDirectories($"/proc/{daemon.Process.Id}/task").Count(task =>
            File.ReadAllText($"{task}/wchan").Contains("lock_sock", StringComparison.Ordinal));

    private int Count(string text) => File.ReadLines(Log).Count(l => l.Contains(text, StringComparison.Ordinal));
}
