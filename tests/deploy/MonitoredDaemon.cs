using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>
/// A daemon that has seen everything it counts and survives, scraped by a Prometheus.
/// </summary>
public sealed class MonitoredDaemon : IAsyncLifetime
{
    private readonly MemoryCgroup _cgroup = new(1L << 30);
    private DaemonProcess? _daemon;
    private FakeLlmServer? _upstream;
    private PrometheusServer? _prometheus;

    internal PrometheusServer Prometheus => _prometheus!;

    public async ValueTask InitializeAsync()
    {
        _upstream = await FakeLlmServer.StartAsync();
        _upstream.Scenario = async exchange =>
        {
            exchange.Context.Response.StatusCode = 500;
            await exchange.Context.Response.CompleteAsync();
        };
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
            ["OPENAI_API_BASE"] = _upstream.BaseAddress.ToString(),
            ["OPENAI_HTTP2_ENABLED"] = "false",
        };
        _daemon = await DaemonProcess.StartUnderAsync(
            _cgroup.Wrapper, environment, true, "--backend", "mock", "--delay", "1", "--max-connections", "2");
        _prometheus = new PrometheusServer(_daemon.MetricsPort);
        await HappenAsync();
        // A rate needs two scrapes of a series, with something between them.
        _ = await _prometheus.ResultOfAsync("streaming_daemon_streams_total{outcome=\"Completed\"}");
        await HappenAsync();
        _ = await _prometheus.ResultOfAsync("rate(streaming_daemon_events_total[1m]) > 0");
    }

    public async ValueTask DisposeAsync()
    {
        if (_prometheus is not null)
            await _prometheus.DisposeAsync();
        if (_daemon is not null)
            await _daemon.DisposeAsync();
        if (_upstream is not null)
            await _upstream.DisposeAsync();
        _cgroup.Dispose();
    }

    private async Task HappenAsync()
    {
        foreach (var handoff in (string[])["""{"prompt":"hi"}""", """{"prompt":"hi","backend":"openai"}""", "{"])
        {
            using var client = TestClient.HandOver(_daemon!.SocketPath, handoff);
            _ = await TestClient.ReadToEndAsync(client);
        }
    }
}
