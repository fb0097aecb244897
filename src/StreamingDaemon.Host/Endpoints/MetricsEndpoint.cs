using StreamingDaemon.Host.Handoff;

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
        var registry = context.RequestServices.GetRequiredService<StreamMetrics>().Registry;
        context.Response.ContentType = ContentType;
        await registry.CollectAndExportAsTextAsync(context.Response.Body, context.RequestAborted);
    }
}
