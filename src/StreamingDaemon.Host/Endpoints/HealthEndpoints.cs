using System.Text.Json;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>
/// <c>/health</c> for people and load balancers, <c>/health/live</c> (restart me if this fails) and
/// <c>/health/ready</c> (send me nothing if this fails) for orchestrators. 200 or 503.
/// </summary>
internal sealed class HealthEndpoints(
    DaemonOptions options, HandoffServer server, DrainSignal drain, StreamWatchdog watchdog)
{
    public static bool IsOne(string path) =>
        path is "/health" or "/healthz" or "/health/live" or "/health/ready";

    /// <summary>How the daemon is.</summary>
    /// <param name="check">That of this request: the loop must turn after it has come.</param>
    /// <param name="isLate">Has the loop had its time to turn?</param>
    /// <returns>Null if it is too early to say.</returns>
    public string? StatusBy(ref TurnCheck? check, bool isLate)
    {
        // The loop of a drained daemon has ended, as it should, a moment before the process does.
        if (drain.IsDraining)
            return "draining";
        // HTTP is there a moment before the loop is.
        if (!server.HasStarted)
            return "starting";
        check ??= server.CheckTurns();
        return check.Look() switch
        {
            true => "ok",
            false => "stuck",
            null => isLate ? "stuck" : null,
        };
    }

    public HttpAnswer Answer(string path, string status) => path switch
    {
        // Neither a drain nor a start is a reason to be restarted.
        "/health/live" => Write(status is "draining" or "starting" ? "ok" : status, null),
        "/health/ready" => Write(status, null),
        _ => Write(status, WriteMore),
    };

    private void WriteMore(Utf8JsonWriter json)
    {
        var statistics = server.Statistics;
        json.WriteString("version", DaemonVersion.Text);
        json.WriteStartObject("connections");
        json.WriteNumber("active", statistics.ActiveConnections);
        json.WriteNumber("peak", statistics.PeakConnections);
        json.WriteNumber("max", statistics.MaxConnections);
        json.WriteEndObject();
        var (queued, pending, streaming) = watchdog.CountStates();
        json.WriteStartObject("streams");
        json.WriteNumber("llm_queued", queued);
        json.WriteNumber("llm_pending", pending);
        json.WriteNumber("streaming", streaming);
        json.WriteEndObject();
        json.WriteString("backend", options.Backend.Name);
    }

    private static HttpAnswer Write(string status, Action<Utf8JsonWriter>? more)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("status", status);
            more?.Invoke(json);
            json.WriteEndObject();
        }

        buffer.WriteByte((byte)'\n');
        return new HttpAnswer(status == "ok" ? 200 : 503, "application/json", buffer.ToArray(),
            "Cache-Control: no-store\r\n");
    }
}
