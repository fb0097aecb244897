using System.Diagnostics;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>The metrics as text. Scrapers that arrive together share one collection: with one for each of
/// them, a probe would wait for its turn. Thread-safe.</summary>
internal sealed class MetricsText(StreamMetrics metrics)
{
    private readonly Lock _gate = new();
    private long _collectedFrom = long.MinValue;
    private ReadOnlyMemory<byte> _text;

    /// <summary>The metrics, collected now or not earlier than <paramref name="since"/>.</summary>
    /// <param name="since">The oldest acceptable collection, as <see cref="Stopwatch.GetTimestamp"/>.</param>
    public ReadOnlyMemory<byte> CollectedSince(long since)
    {
        lock (_gate)
        {
            if (_collectedFrom >= since)
                return _text;
            var from = Stopwatch.GetTimestamp();
            using var text = new MemoryStream();
            // Does not block: a write to memory completes before the call returns.
            metrics.Registry.CollectAndExportAsTextAsync(text).GetAwaiter().GetResult();
            (_text, _collectedFrom) = (text.ToArray(), from);
            return _text;
        }
    }
}
