using Prometheus;

namespace StreamingDaemon.Host.Delivery;

/// <summary>Metrics of deliveries; there are none if deliveries are off.</summary>
internal sealed class DeliveryMetrics
{
    private readonly Counter.Child _accepted, _delivered, _failed, _dead, _dropped, _lost;
    private readonly Gauge _pending, _oldest, _sending, _deadNow, _deadBytes;

    public DeliveryMetrics(CollectorRegistry registry)
    {
        var factory = Metrics.WithCustomRegistry(registry);
        var deliveries = factory.CreateCounter("streaming_daemon_deliveries_total",
            "Answers to deliver, by what became of them: accepted are on the disk, delivered have arrived, "
            + "dead are not sent again, dropped were dead for too long or too many, lost could not be "
            + "written.", "result");
        _accepted = deliveries.WithLabels("accepted");
        _delivered = deliveries.WithLabels("delivered");
        _dead = deliveries.WithLabels("dead");
        _dropped = deliveries.WithLabels("dropped");
        _lost = deliveries.WithLabels("lost");
        _failed = factory.CreateCounter("streaming_daemon_delivery_failures_total",
            "Attempts to deliver that failed and are made again.").WithLabels();
        _pending = factory.CreateGauge("streaming_daemon_deliveries_pending",
            "Deliveries that wait or are being sent, as far as this process knows.");
        _oldest = factory.CreateGauge("streaming_daemon_delivery_oldest_seconds",
            "Age of the oldest delivery that waits; 0 if there is none.");
        _sending = factory.CreateGauge("streaming_daemon_deliveries_sender",
            "1 if this process sends the deliveries of its spool, 0 if another one does.");
        _deadNow = factory.CreateGauge("streaming_daemon_deliveries_dead",
            "Deliveries that are not sent again, on the disk; 0 if another process sends.");
        _deadBytes = factory.CreateGauge("streaming_daemon_deliveries_dead_bytes",
            "Bytes of these deliveries.");
        Registry = registry;
    }

    public CollectorRegistry Registry { get; }

    public void OnAccepted() => _accepted.Inc();

    public void OnDelivered() => _delivered.Inc();

    public void OnFailed() => _failed.Inc();

    public void OnDead() => _dead.Inc();

    /// <summary>Dead letters were looked through.</summary>
    /// <param name="count">How many are left.</param>
    /// <param name="bytes">Their bytes.</param>
    /// <param name="dropped">How many were removed.</param>
    public void OnDeadTrimmed(int count, long bytes, int dropped)
    {
        _deadNow.Set(count);
        _deadBytes.Set(bytes);
        _dropped.Inc(dropped);
    }

    /// <summary>An answer could not be written to the spool.</summary>
    public void OnLost() => _lost.Inc();

    /// <summary>Connects the gauges. Call it once, before the first scrape.</summary>
    public void Observe(Func<(int Count, DateTimeOffset? Oldest, bool IsSender)> look) =>
        Registry.AddBeforeCollectCallback(() =>
        {
            var (count, oldest, isSender) = look();
            _pending.Set(count);
            _oldest.Set(oldest is { } time ? Math.Max(0, (DateTimeOffset.UtcNow - time).TotalSeconds) : 0);
            _sending.Set(isSender ? 1 : 0);
        });
}
