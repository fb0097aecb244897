using Prometheus;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>Whether the last reload of the configuration was good, and when the last good one was. The start
/// counts as a good one. Thread-safe.</summary>
internal sealed class ReloadMetrics
{
    private readonly Gauge _isGood, _lastGood;

    public ReloadMetrics(StreamMetrics metrics)
    {
        var factory = Metrics.WithCustomRegistry(metrics.Registry);
        _isGood = factory.CreateGauge("streaming_daemon_config_last_reload_successful",
            "1 if the last reload of the configuration was good, 0 if an error kept it from all changes.");
        _lastGood = factory.CreateGauge("streaming_daemon_config_last_reload_success_timestamp_seconds",
            "Time of the last good reload, or of the start.");
        Succeeded();
    }

    public void Succeeded()
    {
        _lastGood.SetToCurrentTimeUtc();
        _isGood.Set(1);
    }

    public void Failed() => _isGood.Set(0);
}
