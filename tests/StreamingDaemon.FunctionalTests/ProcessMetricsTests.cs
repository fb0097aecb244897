using System.Net.Http;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What /metrics says of the process: its limits, its log, its last reload.</summary>
public sealed class ProcessMetricsTests : IDisposable
{
    private const int SigHup = 1;
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Open_descriptors_are_counted_and_their_limit_is_the_one_in_force()
    {
        await using var daemon = await DaemonProcess.StartUnderAsync(
            ["prlimit", "--nofile=2345:2345"], null, true, "--delay", "20000");
        var idle = await daemon.MetricValuesAsync();

        var clients = Enumerable.Range(0, 50).Select(_ => TestClient.HandOver(daemon.SocketPath, "{}")).ToList();
        foreach (var client in clients)
            _ = await TestClient.ReadUntilAsync(client, "\n\n");

        Assert.Equal(2345, idle["process_max_fds"]);
        // A few of the daemon's own may come or go, and what handed the clients over is closed elsewhere.
        await Eventually.TrueAsync(async () =>
            (await daemon.MetricValuesAsync())["process_open_fds"] - idle["process_open_fds"] is >= 45 and <= 60);
        clients.ForEach(client => client.Dispose());
    }

    [Fact]
    public async Task Memory_of_the_cgroup_is_what_it_uses_of_its_limit()
    {
        const long Limit = 400 << 20;
        using var cgroup = new MemoryCgroup(Limit);
        await using var daemon = await DaemonProcess.StartUnderAsync(cgroup.Wrapper, null, true, "--delay", "0");

        var metrics = await daemon.MetricValuesAsync();

        Assert.Equal(Limit, metrics["streaming_daemon_cgroup_memory_max_bytes"]);
        Assert.InRange(metrics["streaming_daemon_cgroup_memory_bytes"], 4 << 20, cgroup.PeakBytes);
    }

    [Fact]
    public async Task Reload_that_fails_is_seen_until_the_next_good_one_whose_time_is_told()
    {
        const string IsGood = "streaming_daemon_config_last_reload_successful";
        const string LastGood = "streaming_daemon_config_last_reload_success_timestamp_seconds";
        var file = _directory.File("c.toml");
        await File.WriteAllTextAsync(file, "");
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0", "--config", file);
        var start = await daemon.MetricValuesAsync();

        await File.WriteAllTextAsync(file, "nonsense\n");
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(async () => (await daemon.MetricValuesAsync())[IsGood] == 0);
        Assert.Equal(start[LastGood], (await daemon.MetricValuesAsync())[LastGood]);

        await File.WriteAllTextAsync(file, "");
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(async () => (await daemon.MetricValuesAsync())[IsGood] == 1);
        Assert.True((await daemon.MetricValuesAsync())[LastGood] > start[LastGood]);
        Assert.InRange(start[LastGood], start["process_start_time_seconds"], Now());
    }

    [Fact]
    public async Task Lines_that_a_full_disk_does_not_take_are_counted()
    {
        var port = DaemonProcess.FreePort();
        await using var daemon = await LaunchedDaemon.StartAsync(
            "2>/dev/full", "--delay", "0", "--metrics", $"{port}");
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };

        await Eventually.TrueAsync(async () =>
        {
            Assert.True((await daemon.AskAsync("{}")).IsDone);
            var metrics = await http.GetStringAsync("/metrics");
            return !metrics.Contains("\nstreaming_daemon_log_lines_lost_total 0\n", StringComparison.Ordinal);
        });
    }

    [Fact]
    public async Task Traceparent_of_the_request_is_in_its_line_of_the_log()
    {
        const string Parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        _ = await daemon.AskAsync($$"""{"traceparent":"{{Parent}}"}""");
        _ = await daemon.AskAsync("{}");
        var lines = await daemon.AccessLogAsync(2);

        Assert.Equal([Parent, null], lines.Select(line => line.GetProperty("Traceparent").GetString()));
    }

    private static double Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;
}
