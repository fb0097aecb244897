using System.Diagnostics;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>The metrics as text. Scrapers that come together share one collection: with one for each of a
/// crowd a probe would wait for its turn. Any thread.</summary>
internal sealed class MetricsText(StreamMetrics metrics)
{
    private readonly Lock _gate = new();
    private long _collectedFrom = long.MinValue;
    private ReadOnlyMemory<byte> _text;

    /// <param name="since">The oldest that will do, as <see cref="Stopwatch.GetTimestamp"/>.</param>
    public ReadOnlyMemory<byte> CollectedSince(long since)
    {
        lock (_gate)
        {
            if (_collectedFrom >= since)
                return _text;
            var from = Stopwatch.GetTimestamp();
            using var text = new MemoryStream();
            // Into memory nothing is waited for: this is done when it returns.
            metrics.Registry.CollectAndExportAsTextAsync(text).GetAwaiter().GetResult();
            (_text, _collectedFrom) = (text.ToArray(), from);
            return _text;
        }
    }
}
