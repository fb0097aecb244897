using System.Globalization;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Commands;

/// <summary><c>--benchmark</c>: what the daemon did, printed at its end in the form that harnesses
/// read.</summary>
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
