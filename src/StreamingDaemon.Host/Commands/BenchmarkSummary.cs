using System.Globalization;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Commands;

/// <summary><c>--benchmark</c>: the daemon's totals, printed at its end. Benchmark scripts read this format.
/// </summary>
internal static class BenchmarkSummary
{
    public static void Write(TextWriter output, HandoffServerStatistics statistics, StreamMetrics metrics) =>
        output.Write(string.Create(CultureInfo.InvariantCulture, $"""

            === Benchmark Summary ===
            Peak concurrent: {statistics.PeakConnections}
            Total started: {metrics.Started}
            Total completed: {metrics.Completed}
            Total failed: {metrics.Failed}
            Total bytes: {statistics.BytesSent}
            =========================

            """));
}
