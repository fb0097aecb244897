using System.Diagnostics;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Endpoints;

/// <summary><c>GET /metrics</c> and <c>GET /</c>: the Prometheus text format, version 0.0.4.</summary>
internal static class MetricsEndpoint
{
    private const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    public static void MapMetricsEndpoint(this IEndpointRouteBuilder routes)
    {
        RequestDelegate serve = WriteAsync;
        routes.MapGet("/metrics", serve);
        routes.MapGet("/", serve);
    }

    private static async Task WriteAsync(HttpContext context)
    {
        var since = context.Features.Get<ProbeConnection>()?.RequestedAt ?? Stopwatch.GetTimestamp();
        var text = context.RequestServices.GetRequiredService<MetricsText>().CollectedSince(since);
        context.Response.ContentType = ContentType;
        context.Response.ContentLength = text.Length;
        // One write: the registry writes word by word, and each word would be one send(2).
        await context.Response.Body.WriteAsync(text, context.RequestAborted);
    }
}
