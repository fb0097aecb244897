using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.DeployTests;

/// <summary>Alerts and dashboard, compared with what a running daemon exports.</summary>
public sealed class MonitoringTests(MonitoredDaemon daemon) : IClassFixture<MonitoredDaemon>
{
    [Fact]
    public async Task Every_alert_fires_when_it_should_and_not_when_it_should_not()
    {
        var tests = Tool.InRepository("deploy", "prometheus", "alerts.test.yml");

        var (exitCode, said) = await Tool.RunAsync(Tool.Promtool, "test", "rules", tests);

        Assert.True(exitCode == 0, said);
        var text = await File.ReadAllTextAsync(tests);
        Assert.All(Expressions.OfAlerts().Names,
            name => Assert.Contains($"alertname: {name}\n", text, StringComparison.Ordinal));
    }

    [Fact]
    public void Nobody_is_woken_by_one_event_or_one_slow_stream()
    {
        var rules = Manifests.ReadAs<Manifests.AlertGroups>(File.ReadAllText(Expressions.AlertsPath));
        var critical = rules.Groups!.Single().Rules!.Where(rule => rule.Labels!["severity"] == "critical").ToList();

        Assert.Equal(
            ["Down", "Restarts", "UpstreamFails", "Stalled", "Full", "SpoolBroken"],
            critical.Select(rule => rule.Name!["StreamingDaemon".Length..]));
        // A floor of traffic, of refusals, of clients or of starts; and Down is of no stream.
        Assert.All(critical.Skip(1), rule => Assert.Matches("rate.* > 0\\.05$|>= (?:[3-9]|1[0-9])\\b", rule.Expr!));
    }

    [Fact]
    public void Log_is_a_click_away_for_the_same_time_and_for_one_outcome()
    {
        using var document = JsonDocument.Parse(File.ReadAllText(Expressions.DashboardPath));
        var root = document.RootElement;
        var links = root.GetProperty("links").EnumerateArray().Concat(root.GetProperty("panels").EnumerateArray()
            .Select(panel => panel.GetProperty("fieldConfig").GetProperty("defaults"))
            .Where(defaults => defaults.TryGetProperty("links", out _))
            .SelectMany(defaults => defaults.GetProperty("links").EnumerateArray())).ToList();
        var stream = root.GetProperty("templating").GetProperty("list").EnumerateArray()
            .Single(v => v.GetProperty("name").GetString() == "logstream").GetProperty("query").GetString()!;

        Assert.Equal(2, links.Count);
        Assert.All(links, link =>
        {
            var panes = link.GetProperty("url").GetString()!.Split("&panes=")[1]
                .Replace("${logstream:raw}", stream, StringComparison.Ordinal)
                .Replace("${__field.labels.outcome}", "Completed", StringComparison.Ordinal);
            using var pane = JsonDocument.Parse(panes);
            var range = pane.RootElement.GetProperty("a").GetProperty("range");
            Assert.Equal(("${__from}", "${__to}"),
                (range.GetProperty("from").GetString(), range.GetProperty("to").GetString()));
        });
    }

    [Fact]
    public async Task Prometheus_takes_the_configuration_and_the_rules_it_names()
    {
        var (exitCode, said) = await Tool.RunAsync(Tool.Promtool, "check", "config",
            Tool.InRepository("deploy", "prometheus", "prometheus.yml"));

        Assert.True(exitCode == 0, said);
        Assert.Contains($"{Expressions.OfAlerts().Names.Count} rules found", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_panel_of_the_dashboard_shows_something()
    {
        foreach (var (_, expression) in Expressions.OfDashboard())
            Assert.NotEmpty(await daemon.Prometheus.ResultOfAsync(expression));
    }

    [Fact]
    public void Panels_tell_the_models_faults_by_reason_its_retries_and_the_drains()
    {
        var shown = Expressions.OfDashboard().ToLookup(p => p.Title, p => p.Expression);
        string[] Metrics(string title) =>
            [.. shown[title].SelectMany(Expressions.Selectors).Select(s => s.Metric).Distinct()];

        Assert.Equal(["streaming_daemon_upstream_errors_total"], Metrics("Model's errors, by kind"));
        Assert.Equal(["streaming_daemon_upstream_retries_total"], Metrics("Model asked again, by kind"));
        Assert.All(shown["Model's errors, by kind"].Concat(shown["Model asked again, by kind"]),
            query => Assert.StartsWith("sum by (reason)", query, StringComparison.Ordinal));
        Assert.Contains("streaming_daemon_draining", Metrics("Drains"));
        // Elsewhere they would be one line among many.
        Assert.Equal(["Drains"], shown.Where(p => p.Any(e => e.Contains("Drained", StringComparison.Ordinal)))
            .Select(p => p.Key));
        // Handoffs of backend "none" are not streams: by backend and outcome, most of their lines would
        // always be zero.
        Assert.DoesNotContain(shown.SelectMany(p => p),
            query => query.Contains("(backend, outcome)", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Every_metric_and_label_of_dashboard_and_alerts_is_exported()
    {
        var promql = string.Join('\n', Expressions.OfDashboard().Select(e => e.Expression))
            + Expressions.OfAlerts().Text;
        var selectors = Expressions.Selectors(promql).ToList();
        Assert.True(selectors.Count > 40, "expressions were not found");

        var known = new HashSet<string>();
        foreach (var metric in selectors.Select(s => s.Metric).Distinct())
        {
            var labels = (await daemon.Prometheus.ResultOfAsync(metric))[0].Keys.ToHashSet();
            known.UnionWith(labels);
            var used = selectors.Where(s => s.Metric == metric).SelectMany(s => s.Matchers).Select(m => m.Label);
            Assert.All(used, label => Assert.Contains(label, labels));
        }

        Assert.All(Expressions.Groupings(promql), label => Assert.Contains(label, known));
        var outcomes = selectors.SelectMany(s => s.Matchers).Where(m => m.Label == "outcome")
            .SelectMany(m => m.Value.Split('|')).ToList();
        Assert.NotEmpty(outcomes);
        Assert.All(outcomes, outcome => Assert.True(Enum.IsDefined(Enum.Parse<StreamOutcome>(outcome))));
    }
}
