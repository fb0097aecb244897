using System.Globalization;
using System.Net.Http;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

internal static class DaemonExtensions
{
    private static readonly HttpClient s_http = new() { Timeout = TimeSpan.FromSeconds(20) };

    /// <summary>Hands a client over and reads its whole answer.</summary>
    public static async Task<Answer> AskAsync(this DaemonProcess daemon, string json)
    {
        using var client = TestClient.HandOver(daemon.SocketPath, json);
        return Answer.Parse(await TestClient.ReadToEndAsync(client));
    }

    public static async Task<(int Status, JsonElement Body)> HealthAsync(this DaemonProcess daemon,
        string path = "/health")
    {
        using var response = await s_http.GetAsync(new Uri(daemon.MetricsUri, path));
        using var document = JsonDocument.Parse(await response.Content.ReadAsStringAsync());
        return ((int)response.StatusCode, document.RootElement.Clone());
    }

    public static Task<string> MetricsAsync(this DaemonProcess daemon) =>
        s_http.GetStringAsync(new Uri(daemon.MetricsUri, "/metrics"));

    /// <summary>The values of /metrics, by name with labels as printed.</summary>
    public static async Task<Dictionary<string, double>> MetricValuesAsync(this DaemonProcess daemon) =>
        (await daemon.MetricsAsync()).Split('\n')
            .Where(line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split("} ") is [var labelled, var value] ? (labelled + "}", value)
                : (line.Split(' ')[0], line.Split(' ')[1]))
            .ToDictionary(pair => pair.Item1, pair => double.Parse(pair.Item2, CultureInfo.InvariantCulture));

    /// <summary>The access log's lines, parsed. Waits until there are that many.</summary>
    public static async Task<IReadOnlyList<JsonElement>> AccessLogAsync(this DaemonProcess daemon, int lines)
    {
        await Eventually.TrueAsync(() => daemon.LogLines("\"StreamEnded\"").Count >= lines);
        return [.. daemon.LogLines("\"StreamEnded\"").Select(l => JsonDocument.Parse(l).RootElement)];
    }

    public static async Task<string> OutcomeAsync(this DaemonProcess daemon) =>
        (await daemon.AccessLogAsync(1))[0].GetProperty("Outcome").GetString()!;

    /// <summary>Environment that points the OpenAI backend to a test server.</summary>
    public static Dictionary<string, string> OpenAIEnvironment(this FakeLlmServer upstream, bool http2)
    {
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
            ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString(),
            ["OPENAI_HTTP2_ENABLED"] = http2 ? "true" : "false",
            ["OPENAI_INSECURE_SSL"] = "true",
        };
        if (upstream.SocketPath is { } socket)
            environment["OPENAI_API_SOCKET"] = socket;
        return environment;
    }

    /// <summary>Starts a daemon whose kept answers are in Redis.</summary>
    public static async Task<DaemonProcess> StartSharedAsync(
        this FakeLlmServer upstream, RedisServer redis, string more = "")
    {
        using var directory = new TempDirectory();
        var file = directory.File("answers.toml");
        await File.WriteAllTextAsync(file,
            $"[answers]\nstore = \"redis\"\nredis = \"127.0.0.1:{redis.Port}\"\n{more}\n");
        return await upstream.StartDaemonAsync("--config", file);
    }

    public static Task<DaemonProcess> StartDaemonAsync(this FakeLlmServer upstream, params string[] arguments) =>
        DaemonProcess.StartAsync(upstream.OpenAIEnvironment(false), true, ["--backend", "openai", .. arguments]);
}
