namespace StreamingDaemon.Host.Telemetry;

/// <summary>Where streams are counted, and where their ends are reported.</summary>
/// <param name="metrics">Counts events, and ends.</param>
/// <param name="accessLog">Gets one line for each stream.</param>
internal sealed class StreamReporter(StreamMetrics metrics, AccessLog accessLog)
{
    public StreamMetrics Metrics => metrics;

    /// <summary>Reports a stream that has ended.</summary>
    public void Write(in StreamReport report)
    {
        accessLog.Write(report);
        metrics.OnStreamEnded(report);
    }
}
