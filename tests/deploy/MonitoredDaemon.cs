using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>
/// A daemon that has seen everything it counts and survives, scraped by a Prometheus.
/// </summary>
public sealed class MonitoredDaemon : IAsyncLifetime
{
    private readonly MemoryCgroup _cgroup = new(1L << 30);
    private DaemonProcess? _daemon;
    private readonly DeliveryReceiver _receiver = new();
    private readonly TempDirectory _spool = new();
    private FakeLlmServer? _upstream;
    private RedisServer? _redis;
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
        _redis = await RedisServer.StartAsync();
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
            ["OPENAI_API_BASE"] = _upstream.BaseAddress.ToString(),
            ["OPENAI_HTTP2_ENABLED"] = "false",
            ["STREAMING_DAEMON_DELIVERY__URL"] = _receiver.Url.ToString(),
            ["STREAMING_DAEMON_DELIVERY__SECRET"] = DeliveryReceiver.Secret,
            ["STREAMING_DAEMON_DELIVERY__SPOOL_DIR"] = _spool.Path,
            ["STREAMING_DAEMON_ANSWERS__STORE"] = "redis",
            ["STREAMING_DAEMON_ANSWERS__REDIS"] = $"127.0.0.1:{_redis.Port}",
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
        if (_redis is not null)
            await _redis.DisposeAsync();
        _receiver.Dispose();
        _spool.Dispose();
        _cgroup.Dispose();
    }

    private async Task HappenAsync()
    {
        string[] handoffs =
        [
            """{"prompt":"hi"}""", """{"prompt":"hi","backend":"openai"}""", "{",
            """{"prompt":"hi","keep":true,"user_id":7}""",
        ];
        foreach (var handoff in handoffs)
        {
            using var client = TestClient.HandOver(_daemon!.SocketPath, handoff);
            _ = await TestClient.ReadToEndAsync(client);
        }
    }
}
