using System.Globalization;
using System.Net.Http;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>
/// Hands over many long prompts at once while the upstream is silent: then the daemon holds the most memory.
/// After that the upstream answers, and each client reads to the end.
/// </summary>
public sealed class PromptLoad(DaemonProcess daemon, FakeLlmServer upstream)
{
    private static readonly HttpClient s_http = new() { Timeout = TimeSpan.FromSeconds(20) };

    /// <summary>The answers that the clients read.</summary>
    public IReadOnlyList<string> Answers { get; private set; } = [];

    /// <summary>Number of streams that the daemon refused as OverMemory.</summary>
    public int CountedRefused { get; private set; }

    /// <summary>Number of requests to /health/live that got no 200 within a few seconds.</summary>
    public int Unhealthy { get; private set; }

    public IEnumerable<string> Whole => Answers.Where(answer =>
        answer.StartsWith("HTTP/1.1 200 ", StringComparison.Ordinal)
        && answer.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal));

    public IEnumerable<string> Refused => Answers.Where(answer =>
        answer.StartsWith("HTTP/1.1 503 ", StringComparison.Ordinal)
        && answer.Contains("\r\nRetry-After: ", StringComparison.Ordinal)
        && answer.EndsWith("}\n", StringComparison.Ordinal));

    /// <summary>Runs the load.</summary>
    /// <param name="streams">Number of handoffs.</param>
    /// <param name="promptBytes">Bytes of each prompt.</param>
    public async Task RunAsync(int streams, int promptBytes)
    {
        var begin = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        upstream.ForgetsBodies = true;
        upstream.Scenario = async exchange =>
        {
            await begin.Task;
            await FakeLlmScenarios.RunAsync(exchange);
        };
        var prompt = new string('x', promptBytes);
        var answers = new List<Task<string>>();
        for (var i = 0; i < streams; i++)
        {
            var json = $$"""{"request_id":"r{{i}}","prompt":"{{prompt}}"}""";
            // The daemon may accept more slowly than this loop connects.
            var client = await Task.Run(() => TestClient.HandOver(daemon.SocketPath, json));
            answers.Add(ReadAsync(client));
            if (i % 500 == 0)
                await LookAsync();
        }

        await Eventually.TrueAsync(async () =>
        {
            await LookAsync();
            return upstream.Requests.Count + CountedRefused >= streams;
        }, TimeSpan.FromSeconds(60));
        begin.SetResult();
        Answers = await Task.WhenAll(answers);
        await LookAsync();
    }

    private static async Task<string> ReadAsync(Socket client)
    {
        using (client)
            return Encoding.UTF8.GetString(await TestClient.ReadToEndAsync(client, TimeSpan.FromMinutes(2)));
    }

    private async Task LookAsync()
    {
        using var live = await s_http.GetAsync(new Uri(daemon.MetricsUri, "/health/live"));
        Unhealthy += live.IsSuccessStatusCode ? 0 : 1;
        const string Refused = "outcome=\"OverMemory\"} ";
        CountedRefused = (await s_http.GetStringAsync(new Uri(daemon.MetricsUri, "/metrics"))).Split('\n')
            .Where(line => line.StartsWith("streaming_daemon_streams_total{", StringComparison.Ordinal))
            .Where(line => line.Contains(Refused, StringComparison.Ordinal))
            .Sum(line => int.Parse(line.Split(' ')[^1], CultureInfo.InvariantCulture));
    }
}
