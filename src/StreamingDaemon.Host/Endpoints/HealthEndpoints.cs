using System.Text.Json;
using StreamingDaemon.Host.Answers.Shared;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>
/// <c>/health</c> for people and load balancers. For orchestrators: <c>/health/live</c> (restart the daemon
/// if this fails) and <c>/health/ready</c> (send it no traffic if this fails). The status is 200 or 503.
/// </summary>
internal static class HealthEndpoints
{
    /// <summary>If the loop does not turn for this long after it was woken, it is stuck. Shorter than the
    /// second that probes usually wait.</summary>
    private static readonly TimeSpan s_turnPatience = TimeSpan.FromMilliseconds(800);

    /// <summary>HEAD too: some probes want only the status.</summary>
    private static readonly string[] s_methods = ["GET", "HEAD"];

    public static void MapHealthEndpoints(this IEndpointRouteBuilder routes)
    {
        RequestDelegate health = WriteHealthAsync, live = WriteLiveAsync, ready = WriteReadyAsync;
        routes.MapMethods("/health", s_methods, health);
        routes.MapMethods("/healthz", s_methods, health);
        routes.MapMethods("/health/live", s_methods, live);
        routes.MapMethods("/health/ready", s_methods, ready);
    }

    private static async Task WriteHealthAsync(HttpContext context)
    {
        var status = await StatusOf(context);
        var services = context.RequestServices;
        var options = services.GetRequiredService<DaemonOptions>();
        var statistics = services.GetRequiredService<HandoffServer>().Statistics;
        await WriteAsync(context, status, json =>
        {
            json.WriteString("version", DaemonVersion.Text);
            json.WriteString("revision", DaemonVersion.Revision);
            json.WriteStartObject("connections");
            json.WriteNumber("active", statistics.ActiveConnections);
            json.WriteNumber("peak", statistics.PeakConnections);
            json.WriteNumber("max", statistics.MaxConnections);
            json.WriteEndObject();
            var (queued, pending, streaming) = services.GetRequiredService<StreamWatchdog>().CountStates();
            json.WriteStartObject("streams");
            json.WriteNumber("llm_queued", queued);
            json.WriteNumber("llm_pending", pending);
            json.WriteNumber("streaming", streaming);
            json.WriteEndObject();
            json.WriteString("backend", options.Backend.Name);
            // The daemon stays ready: streams go on, unkept.
            if (services.GetService<ISharedAnswers>() is { } shared)
            {
                json.WriteString("answers_redis", WordOf(shared.Health));
                if (shared.Problem is { } problem)
                    json.WriteString("answers_redis_reason", problem);
            }
        });
    }

    private static string WordOf(SharedHealth health) => health switch
    {
        SharedHealth.Ok => "ok",
        SharedHealth.Refuses => "refuses",
        _ => "unavailable",
    };

    private static async Task WriteLiveAsync(HttpContext context)
    {
        // A daemon that drains or starts must not be restarted.
        var status = await StatusOf(context);
        await WriteAsync(context, status is "draining" or "starting" ? "ok" : status, null);
    }

    private static async Task WriteReadyAsync(HttpContext context) =>
        await WriteAsync(context, await StatusOf(context), null);

    private static async Task<string> StatusOf(HttpContext context)
    {
        var services = context.RequestServices;
        var draining = services.GetRequiredService<DrainSignal>().IsDraining;
        var server = services.GetRequiredService<HandoffServer>();
        // HTTP starts a moment before the loop.
        if (!draining && !server.HasStarted)
            return "starting";
        var turning = await server.IsTurningAsync(s_turnPatience, context.RequestAborted);
        // After a drain, the loop ends a moment before the process: that is not stuck.
        return draining ? "draining" : turning ? "ok" : "stuck";
    }

    private static async Task WriteAsync(HttpContext context, string status, Action<Utf8JsonWriter>? more)
    {
        context.Response.StatusCode = status == "ok" ? 200 : 503;
        context.Response.ContentType = "application/json";
        context.Response.Headers.CacheControl = "no-store";
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("status", status);
            more?.Invoke(json);
            json.WriteEndObject();
        }

        buffer.WriteByte((byte)'\n');
        context.Response.ContentLength = buffer.Length;
        await context.Response.Body.WriteAsync(buffer.ToArray(), context.RequestAborted);
    }
}
