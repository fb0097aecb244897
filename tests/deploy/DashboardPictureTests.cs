using System.Text.RegularExpressions;
using System.Xml.Linq;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The picture of the dashboard in docs/operations.md: its own queries, drawn from a real run.</summary>
public sealed partial class DashboardPictureTests
{
    /// <summary>Set it to draw the picture again; that takes as long as the run below.</summary>
    private const string Switch = "UPDATE_DASHBOARD_PICTURE";

    private const int RunSeconds = 240;
    private const int ScrapeSeconds = 5;
    private const int MaxConnections = 60;

    [Fact]
    public async Task Picture_in_the_guide_has_every_panel_of_the_dashboard()
    {
        var file = Tool.InRepository("docs", "dashboard.svg");
        if (Environment.GetEnvironmentVariable(Switch) == "1")
            await File.WriteAllTextAsync(file, await DrawAsync());

        var picture = XDocument.Load(file);

        var texts = picture.Descendants().Where(e => e.Name.LocalName == "text").Select(e => e.Value).ToHashSet();
        Assert.All(Dashboard.Read("1m"), panel => Assert.Contains(panel.Title, texts));
        Assert.InRange(new FileInfo(file).Length, 1, 300_000);
    }

    /// <summary>
    /// Four minutes of a small site. The model hesitates before its first word and sometimes fails; browsers
    /// leave; in the third minute there are more of them than the daemon has room for, and the receiver of
    /// deliveries is away. One answer in three is kept.
    /// </summary>
    private static async Task<string> DrawAsync()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = AnswerAsync;
        await using var redis = await RedisServer.StartAsync();
        using var receiver = new DeliveryReceiver();
        using var spool = new TempDirectory();
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
            ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString(),
            ["OPENAI_HTTP2_ENABLED"] = "false",
            ["OPENAI_MAX_RETRIES"] = "1",
            ["STREAMING_DAEMON_DELIVERY__URL"] = receiver.Url.ToString(),
            ["STREAMING_DAEMON_DELIVERY__SECRET"] = DeliveryReceiver.Secret,
            ["STREAMING_DAEMON_DELIVERY__SPOOL_DIR"] = spool.Path,
            ["STREAMING_DAEMON_ANSWERS__STORE"] = "redis",
            ["STREAMING_DAEMON_ANSWERS__REDIS"] = $"127.0.0.1:{redis.Port}",
            // As short as the run is.
            ["STREAMING_DAEMON_ANSWERS__KEEP_S"] = "40",
        };
        using var cgroup = new MemoryCgroup(256 << 20);
        await using var daemon = await DaemonProcess.StartUnderAsync(cgroup.Wrapper, environment, true,
            "--backend", "openai", "--max-connections", $"{MaxConnections}");
        await using var prometheus = new PrometheusServer(daemon.MetricsPort, ScrapeSeconds * 1000);
        await prometheus.ResultOfAsync("streaming_daemon_info");
        var start = Now();
        List<Task> browsers = [];
        for (var left = 0.0; (left = Now() - start) < RunSeconds;)
        {
            receiver.Status = (_, _) => left is > 120 and < 180 ? 503 : 204;
            browsers.Add(BrowseAsync(daemon.SocketPath));
            // Streams last some 5 s: 5 a second are 25 at once; 20 a second exceed the room.
            await Task.Delay(TimeSpan.FromSeconds(1 / (5 + 15 * Math.Exp(-Math.Pow((left - 150) / 20, 2)))));
        }

        var panels = new List<(Panel, IReadOnlyList<DrawnSeries>)>();
        foreach (var panel in Dashboard.Read($"{4 * ScrapeSeconds}s"))
            panels.Add((panel, await SeriesOfAsync(prometheus, panel, start)));
        await Task.WhenAll(browsers);
        return new DashboardPicture(RunSeconds).Draw(panels);
    }

    private static async Task<IReadOnlyList<DrawnSeries>> SeriesOfAsync(
        PrometheusServer prometheus, Panel panel, double start)
    {
        List<DrawnSeries> all = [];
        foreach (var query in panel.Queries)
        {
            var series = await prometheus.RangeAsync(query.Expression, start, start + RunSeconds, ScrapeSeconds);
            all.AddRange(series.Where(s => s.Points.Count > 0).Select(s => new DrawnSeries(
                Label().Replace(query.Legend, m => s.Labels.GetValueOrDefault(m.Groups[1].Value, "")).Trim(),
                [.. s.Points.Select(p => (p.At - start, p.Value))])));
        }

        return all;
    }

    private static async Task AnswerAsync(FakeLlmExchange exchange)
    {
        if (Random.Shared.Next(6) == 0)
        {
            await exchange.RespondAsync(500, "application/json", "{}");
            return;
        }

        // Rarely long: the sum of two has a tail.
        var hesitation = 150 + Random.Shared.Next(250) + (Random.Shared.Next(10) == 0 ? Random.Shared.Next(1500) : 0);
        await Task.Delay(hesitation, exchange.Context.RequestAborted);
        await exchange.StartAsync();
        for (var word = 20 + Random.Shared.Next(50); word > 0; word--)
        {
            await exchange.SendDeltaAsync("word ");
            await Task.Delay(100, exchange.Context.RequestAborted);
        }

        await exchange.SendFinishAsync();
        await exchange.SendDoneAsync();
    }

    /// <summary>Reads to the end; one in twelve leaves before it.</summary>
    private static async Task BrowseAsync(string socket)
    {
        using var client = TestClient.HandOver(socket, Random.Shared.Next(3) == 0
            ? """{"prompt":"hi","keep":true,"user_id":7}""" : """{"prompt":"hi"}""");
        var reading = TestClient.ReadToEndAsync(client);
        if (Random.Shared.Next(12) != 0)
        {
            await reading;
            return;
        }

        await Task.WhenAny(reading, Task.Delay(1500));
        client.Dispose();
        await reading.ContinueWith(static r => _ = r.Exception, TaskScheduler.Default);
    }

    private static double Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    [GeneratedRegex(@"\{\{(\w+)\}\}")]
    private static partial Regex Label();
}
