using System.Diagnostics;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

[Trait("Quick", "Yes")]
public sealed partial class LifecycleTests
{
    private const int SigInt = 2;
    private const int SigTerm = 15;

    [Fact]
    public async Task Sigterm_lets_running_streams_end_whole_while_health_says_draining()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "100");
        Assert.Equal(200, (await daemon.HealthAsync()).Status);
        Assert.Equal(200, (await daemon.HealthAsync("/health/ready")).Status);
        using var http = new HttpClient { BaseAddress = daemon.MetricsUri };
        Assert.Contains("\nstreaming_daemon_draining 0\n", await http.GetStringAsync("/metrics"),
            StringComparison.Ordinal);
        var clients = Enumerable.Range(0, 100).Select(_ => TestClient.HandOver(daemon.SocketPath, "{}")).ToList();
        _ = await TestClient.ReadUntilAsync(clients[0], "User ID");

        daemon.Signal(SigTerm);

        await Eventually.TrueAsync(() => !File.Exists(daemon.SocketPath));
        var (status, body) = await daemon.HealthAsync();
        Assert.Equal(503, status);
        Assert.Equal("draining", body.GetProperty("status").GetString());
        Assert.Equal(503, (await daemon.HealthAsync("/health/ready")).Status);
        Assert.Equal(200, (await daemon.HealthAsync("/health/live")).Status);
        Assert.Contains("\nstreaming_daemon_draining 1\n", await http.GetStringAsync("/metrics"),
            StringComparison.Ordinal);
        foreach (var client in clients.Skip(1))
            Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(client)).IsDone);
        Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(clients[0]), StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Streams_that_outlive_the_shutdown_timeout_end_with_an_error_event()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_TIMEOUTS__SHUTDOWN_TIMEOUT_S"] = "1" }, true,
            "--delay", "20000");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(client, "\n\n");

        daemon.Signal(SigTerm);

        var rest = await TestClient.ReadTextAsync(client);
        Assert.StartsWith("data: {\"error\":\"", rest[rest.IndexOf("data: {\"error", StringComparison.Ordinal)..],
            StringComparison.Ordinal);
        Assert.DoesNotContain("[DONE]", rest, StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Equal("Drained", await daemon.OutcomeAsync());
    }

    [Theory]
    [InlineData(SigInt, 130)]
    [InlineData(SigTerm, 143)]
    public async Task Second_signal_ends_the_process_at_once(int second, int exitCode)
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "20000");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(client, "\n\n");

        daemon.Signal(SigInt);
        await Eventually.TrueAsync(() => !File.Exists(daemon.SocketPath));
        Assert.False(daemon.HasExited);
        await Posix.KillUntilAsync(daemon.Pid, second, () => daemon.HasExited);

        Assert.Equal(exitCode, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Echo_of_a_signal_is_no_second_one()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "20");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(client, "\n\n");

        // Like timeout(1), which signals its child and then the child's whole group.
        daemon.Signal(SigTerm);
        daemon.Signal(SigInt);

        Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Fact]
    public async Task Commit_that_was_built_is_in_version_health_and_metrics()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var revision = await RevisionAsync();

        // In a clone and in an archive of git it is known.
        if (Path.Exists(Path.Combine(DaemonProcess.RepositoryRoot(), ".git")))
            Assert.Matches("^[0-9a-f]{40}$", revision);
        Assert.Equal(revision, (await daemon.HealthAsync()).Body.GetProperty("revision").GetString());
        Assert.Contains($",revision=\"{revision}\"}} 1\n", await daemon.MetricsAsync(), StringComparison.Ordinal);
    }

    /// <summary>As <c>--version</c> prints it, in brackets after the version.</summary>
    private static async Task<string> RevisionAsync()
    {
        var (exitCode, said, _) = await DaemonProcess.RunAsync("--version");
        Assert.Equal(0, exitCode);
        var version = Revision().Match(said);
        Assert.True(version.Success, said);
        return version.Groups[1].Value;
    }

    [GeneratedRegex(@"^streaming-daemon [0-9.]+ \(([0-9a-f]{40}|unknown)\)\n$")]
    private static partial Regex Revision();

    [Fact]
    public async Task Metrics_have_the_names_and_labels_of_the_contract()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        var bytes = (await daemon.AskAsync("{}")).Raw.Length;
        _ = await daemon.AskAsync("nonsense");
        _ = await daemon.AccessLogAsync(2);

        var metrics = await daemon.MetricsAsync();

        foreach (var line in new[]
        {
            "streaming_daemon_connections_active 0",
            "streaming_daemon_connections_peak 1",
            "streaming_daemon_connections_max 10000",
            "streaming_daemon_requests_total{status=\"started\"} 2",
            "streaming_daemon_requests_total{status=\"completed\"} 1",
            "streaming_daemon_requests_total{status=\"failed\"} 1",
            "streaming_daemon_info{version=\"0.1.0\",sqpoll=\"disabled\",thread_pool=\"disabled\","
                + $"revision=\"{await RevisionAsync()}\"}} 1",
            "streaming_daemon_streams_total{backend=\"mock\",outcome=\"Completed\"} 1",
            "streaming_daemon_streams_total{backend=\"mock\",outcome=\"BadHandoff\"} 1",
            "streaming_daemon_tls_clients_total 0",
            "streaming_daemon_events_total 18",
            "streaming_daemon_handoff_duration_seconds_count 2",
            "streaming_daemon_time_to_first_token_seconds_count{backend=\"mock\"} 1",
            "streaming_daemon_stream_duration_seconds_count{backend=\"mock\"} 2",
            // The threshold of an alert, and the longest that sites configure.
            "streaming_daemon_time_to_first_token_seconds_bucket{backend=\"mock\",le=\"10\"} 1",
            "streaming_daemon_time_to_first_token_seconds_bucket{backend=\"mock\",le=\"120\"} 1",
            "streaming_daemon_stream_duration_seconds_bucket{backend=\"mock\",le=\"600\"} 2",
            "streaming_daemon_log_lines_lost_total 0",
            "streaming_daemon_config_last_reload_successful 1",
        })
        {
            Assert.Contains(line + "\n", metrics, StringComparison.Ordinal);
        }

        var total = int.Parse(BytesTotal().Match(metrics).Groups[1].Value, null);
        Assert.InRange(total, bytes + 1, bytes + 400);
    }

    [Fact]
    public async Task Pool_of_one_worker_runs_one_call_at_a_time_and_the_next_one_waits_its_turn()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var release = new SemaphoreSlim(0);
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await release.WaitAsync();
            await exchange.SendDeltaAsync("token");
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync("--thread-pool", "--pool-size", "1");
        var first = daemon.AskAsync("""{"prompt":"first"}""");
        _ = await upstream.NextRequestAsync(TestClient.Patience);
        var second = daemon.AskAsync("""{"prompt":"second"}""");

        await Eventually.TrueAsync(() => States(daemon) == "1 queued, 1 pending");
        Assert.Single(upstream.Requests);
        release.Release(2);

        Assert.True((await first).IsDone);
        Assert.True((await second).IsDone);
        Assert.Equal(2, upstream.Requests.Count);
    }

    [Fact]
    public async Task Benchmark_prints_its_summary_at_the_end()
    {
        await using var daemon = await DaemonProcess.StartAsync("--benchmark", "--delay", "0");
        _ = await daemon.AskAsync("{}");
        var bytes = (await daemon.AskAsync("{}")).Raw.Length;

        daemon.Signal(SigTerm);

        Assert.Equal(0, await daemon.ExitCodeAsync());
        await Eventually.TrueAsync(() => daemon.ErrorText.Contains("=====\n", StringComparison.Ordinal));
        Assert.Contains($"""

            === Benchmark Summary ===
            Peak concurrent: 1
            Total started: 2
            Total completed: 2
            Total failed: 0
            Total bytes: {2 * bytes}
            =========================

            """, daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_listens_for_http_if_no_port_is_set()
    {
        await using var daemon = await DaemonProcess.StartAsync(null, metrics: false, "--delay", "0");

        Assert.True((await daemon.AskAsync("{}")).IsDone);

        // Checks whether any socket inode of the daemon is a listening TCP socket (state 0A).
        var inodes = Directory.GetFileSystemEntries($"/proc/{daemon.Pid}/fd")
            .Select(f => new FileInfo(f).LinkTarget ?? "")
            .Where(t => t.StartsWith("socket:[", StringComparison.Ordinal))
            .Select(t => t[8..^1]).ToHashSet();
        var listening = new[] { "tcp", "tcp6" }.SelectMany(f => File.ReadLines($"/proc/{daemon.Pid}/net/{f}").Skip(1))
            .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(c => c[3] == "0A" && inodes.Contains(c[9]));
        Assert.Empty(listening);
    }

    [Fact]
    public async Task Log_that_nobody_reads_stalls_no_stream()
    {
        using var directory = new TempDirectory();
        var command = DaemonProcess.Command();
        var socket = directory.File("s");
        using var daemon = Process.Start(new ProcessStartInfo(command[0],
            [.. command.Skip(1), "--socket", socket, "--delay", "0"])
        { RedirectStandardError = true })!;
        // Read only the first line, which says that it listens. The pipe, 64 KiB, then fills up.
        _ = await daemon.StandardError.BaseStream.ReadAsync(new byte[1]);

        try
        {
            var answers = await Task.WhenAll(Enumerable.Range(0, 1000).Select(async i =>
            {
                var json = $$"""{"request_id":"{{new string('r', 100)}}{{i}}"}""";
                using var client = TestClient.HandOver(socket, json);
                return Answer.Parse(await TestClient.ReadToEndAsync(client));
            }));

            Assert.All(answers, a => Assert.True(a.IsDone));
        }
        finally
        {
            daemon.Kill();
            await daemon.WaitForExitAsync();
        }
    }

    [Theory]
    [Trait("Needs", "Tools")]
    [InlineData(1, "io_uring loop")]
    [InlineData(2, "io_uring loop")]
    [InlineData(2, "io_uring loop 2")]
    public async Task Loop_that_no_longer_turns_makes_live_fail_until_it_turns_again(int rings, string loop)
    {
        using var directory = new TempDirectory();
        await using var daemon = await DaemonProcess.StartAsync("--rings", $"{rings}");
        Assert.Equal(200, (await daemon.HealthAsync("/health/live")).Status);

        using var holder = await HeldThread.HoldLoopAsync(directory, daemon.Pid, loop);

        var (status, body) = await daemon.HealthAsync("/health/live");
        Assert.Equal(503, status);
        Assert.Equal("stuck", body.GetProperty("status").GetString());
        Assert.Equal(503, (await daemon.HealthAsync("/health/ready")).Status);

        await holder.ReleaseAsync();
        Assert.Equal(200, (await daemon.HealthAsync("/health/live")).Status);
    }

    private static string States(DaemonProcess daemon)
    {
        var streams = daemon.HealthAsync().GetAwaiter().GetResult().Body.GetProperty("streams");
        return $"{streams.GetProperty("llm_queued")} queued, {streams.GetProperty("llm_pending")} pending";
    }

    [GeneratedRegex(@"\nstreaming_daemon_bytes_total (\d+)\n")]
    private static partial Regex BytesTotal();
}
