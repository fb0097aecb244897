using StreamingDaemon.Host.Handoff;

namespace StreamingDaemon.Host.Endpoints;

/// <summary><c>GET /metrics</c> and <c>GET /</c>: the Prometheus text format, version 0.0.4.</summary>
internal sealed class MetricsEndpoint(StreamMetrics metrics)
{
    private const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    public static bool IsIt(string path) => path is "/" or "/metrics";

    public HttpAnswer Answer()
    {
        using var text = new MemoryStream();
        // Into memory nothing is waited for: this is done when it returns.
        metrics.Registry.CollectAndExportAsTextAsync(text).GetAwaiter().GetResult();
        return new HttpAnswer(200, ContentType, text.ToArray());
    }
}
