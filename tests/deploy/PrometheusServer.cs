using System.Diagnostics;
using System.Globalization;
using System.Net.Http;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>Labels, and times (seconds of the epoch) with values.</summary>
internal sealed record PrometheusSeries(
    IReadOnlyDictionary<string, string> Labels, IReadOnlyList<(double At, double Value)> Points);

/// <summary>A private Prometheus that scrapes one daemon; once a second, unless told
/// otherwise.</summary>
internal sealed class PrometheusServer : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly Process _process;
    private readonly HttpClient _http;

    public PrometheusServer(int daemonPort, int scrapeMs = 1000)
    {
        var port = DaemonProcess.FreePort();
        var configuration = _directory.File("prometheus.yml");
        File.WriteAllText(configuration, $$"""
            global: { scrape_interval: {{scrapeMs}}ms, scrape_timeout: {{scrapeMs}}ms }
            scrape_configs:
              - job_name: streaming-daemon
                static_configs: [{ targets: ["127.0.0.1:{{daemonPort}}"] }]
            """);
        var start = new ProcessStartInfo(Tool.Prometheus,
        [
            $"--config.file={configuration}", $"--storage.tsdb.path={_directory.File("data")}",
            $"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ]);
        _process = Process.Start(start)!;
        _http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
    }

    /// <summary>Labels of each series that an expression returns now; none if Prometheus is not up
    /// yet.</summary>
    /// <exception cref="InvalidOperationException">Prometheus cannot read the expression.</exception>
    public async Task<IReadOnlyList<IReadOnlyDictionary<string, string>>> QueryAsync(string expression)
    {
        Assert.False(_process.HasExited, "Prometheus ended");
        try
        {
            using var response = await _http.GetAsync(
                new Uri($"/api/v1/query?query={Uri.EscapeDataString(expression)}", UriKind.Relative));
            var text = await response.Content.ReadAsStringAsync();
            if (!response.IsSuccessStatusCode && text.Contains("bad_data", StringComparison.Ordinal))
                throw new InvalidOperationException($"{expression}: {text}");
            return response.IsSuccessStatusCode ? Series(text) : [];
        }
        catch (HttpRequestException)
        {
            return [];
        }
    }

    /// <summary>Waits until an expression returns something.</summary>
    public async Task<IReadOnlyList<IReadOnlyDictionary<string, string>>> ResultOfAsync(string expression)
    {
        var deadline = Environment.TickCount64 + 60_000;
        while (true)
        {
            var series = await QueryAsync(expression);
            if (series.Count > 0)
                return series;
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"the daemon exports nothing for: {expression}");
            await Task.Delay(100);
        }
    }

    /// <summary>The series of an expression between two times, as a Grafana panel asks.</summary>
    /// <param name="expression">PromQL.</param>
    /// <param name="from">Seconds of the epoch.</param>
    /// <param name="to">Seconds of the epoch.</param>
    /// <param name="stepSeconds">Between two points.</param>
    public async Task<IReadOnlyList<PrometheusSeries>> RangeAsync(
        string expression, double from, double to, int stepSeconds)
    {
        var query = string.Create(CultureInfo.InvariantCulture,
            $"query={Uri.EscapeDataString(expression)}&start={from}&end={to}&step={stepSeconds}");
        var address = new Uri("/api/v1/query_range?" + query, UriKind.Relative);
        using var document = JsonDocument.Parse(await _http.GetStringAsync(address));
        return
        [
            .. document.RootElement.GetProperty("data").GetProperty("result").EnumerateArray()
                .Select(one => new PrometheusSeries(Labels(one), Points(one.GetProperty("values")))),
        ];
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _directory.Dispose();
    }

    private static List<IReadOnlyDictionary<string, string>> Series(string json)
    {
        using var document = JsonDocument.Parse(json);
        var result = document.RootElement.GetProperty("data").GetProperty("result");
        return
        [
            .. result.EnumerateArray().Select(Labels),
        ];
    }

    private static IReadOnlyDictionary<string, string> Labels(JsonElement series) =>
        series.GetProperty("metric").EnumerateObject()
            .ToDictionary(label => label.Name, label => label.Value.GetString()!);

    /// <summary>Without NaN, the value of a quotient if nothing happened.</summary>
    private static List<(double At, double Value)> Points(JsonElement values) =>
    [
        .. values.EnumerateArray()
            .Select(p => (p[0].GetDouble(), double.Parse(p[1].GetString()!, CultureInfo.InvariantCulture)))
            .Where(p => double.IsFinite(p.Item2)),
    ];
}
