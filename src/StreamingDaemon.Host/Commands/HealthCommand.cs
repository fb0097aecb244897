using System.Net;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Commands;

/// <summary>
/// <c>health</c>: asks the daemon of this configuration whether it is ready. So a container image needs no
/// other program for its HEALTHCHECK.
/// </summary>
internal static class HealthCommand
{
    /// <summary>Timeout. A daemon answers within a second, even if its loop is stuck.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);

    /// <summary>A daemon's answer has some hundred bytes; a larger one is not from a daemon.</summary>
    private const int MaxBodyBytes = 64 * 1024;
    private const int MaxHeadKib = 16;

    /// <summary>Asks /health/ready on the metrics port, and prints the status.</summary>
    /// <returns>0 if the answer is 200 with the status ok, else 1.</returns>
    public static async Task<int> RunAsync(MonitoringOptions monitoring, bool json, TextWriter output,
        CancellationToken cancellationToken)
    {
        var (status, detail) = monitoring.MetricsPort == 0
            ? ("unknown", "no metrics port is set; set it with --metrics PORT")
            : await AskAsync(monitoring, cancellationToken);
        var text = detail is null ? status : $"{status}: {detail}";
        await output.WriteLineAsync(json ? ToJson(status, detail) : text);
        return status == "ok" ? ExitCode.Success : ExitCode.Failure;
    }

    private static async Task<(string Status, string? Detail)> AskAsync(
        MonitoringOptions monitoring, CancellationToken cancellationToken)
    {
        var address =
            $"{Reachable(IPAddress.Parse(monitoring.MetricsAddress))}:{monitoring.MetricsPort}";
        // Never through a proxy from the environment.
        using var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            ConnectTimeout = s_patience,
            MaxResponseHeadersLength = MaxHeadKib,
            MaxResponseDrainSize = 0,
        };
        using var http = new HttpClient(handler)
        { Timeout = s_patience, MaxResponseContentBufferSize = MaxBodyBytes };
        try
        {
            var ready = new Uri($"http://{address}/health/ready");
            using var response = await http.GetAsync(ready, cancellationToken);
            var status = StatusIn(await response.Content.ReadAsByteArrayAsync(cancellationToken));
            if (response.StatusCode == HttpStatusCode.OK && status == "ok")
                return ("ok", null);
            var stranger = status is null ? ", but not like a daemon" : "";
            return (status is null or "ok" ? "unknown" : status,
                $"{address} answered {(int)response.StatusCode}{stranger}");
        }
        catch (TaskCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return ("unreachable", $"{address}: no answer within {s_patience.TotalSeconds} s");
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Any error that another server on that port can cause. The message may contain its text.
            return ("unreachable",
                PrintedText.Sentence($"{address}: {e.InnerException?.Message ?? e.Message}"));
        }
    }

    /// <summary>The address to connect to: loopback, if the daemon listens on all addresses.</summary>
    private static string Reachable(IPAddress address)
    {
        if (address.Equals(IPAddress.Any))
            return $"{IPAddress.Loopback}";
        if (address.Equals(IPAddress.IPv6Any))
            return $"[{IPAddress.IPv6Loopback}]";
        return address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6
            ? $"[{address}]" : $"{address}";
    }

    /// <summary>The daemon's status, or null if the answer is not from a daemon.</summary>
    private static string? StatusIn(byte[] body)
    {
        try
        {
            using var document = JsonDocument.Parse(body);
            return document.RootElement.ValueKind == JsonValueKind.Object
                && document.RootElement.TryGetProperty("status", out var status)
                && status.ValueKind == JsonValueKind.String
                && status.GetString() is ("ok" or "starting" or "draining" or "stuck") and var word
                ? word : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private static string ToJson(string status, string? detail)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("status", status);
            if (detail is not null)
                json.WriteString("detail", detail);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }
}
