using Prometheus;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>Metrics of the memory budget: what streams hold, and the limit.</summary>
internal sealed class MemoryMetrics
{
    private readonly CollectorRegistry _registry;
    private readonly Gauge _held, _max;
    private readonly Counter _survived;

    public MemoryMetrics(CollectorRegistry registry)
    {
        _registry = registry;
        var factory = Metrics.WithCustomRegistry(registry);
        _held = factory.CreateGauge("streaming_daemon_memory_held_bytes",
            "Memory counted for streams, their requests and their pending output.");
        _max = factory.CreateGauge("streaming_daemon_memory_max_bytes",
            "Limit of the memory counted for streams: above it, a stream is refused as OverMemory.");
        _survived = factory.CreateCounter("streaming_daemon_out_of_memory_total",
            "Times that a thread ran out of memory and went on.");
    }

    public void Observe(MemoryBudget budget) => _registry.AddBeforeCollectCallback(() =>
    {
        _held.Set(budget.Held);
        _max.Set(budget.Limit);
        _survived.IncTo(OutOfMemory.Survived);
    });
}
