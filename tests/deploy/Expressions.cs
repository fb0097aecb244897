using System.Text.Json;
using System.Text.RegularExpressions;

namespace StreamingDaemon.DeployTests;

/// <summary>The PromQL of the dashboard and of the alerts.</summary>
internal static partial class Expressions
{
    public static string DashboardPath { get; } = Tool.InRepository("deploy", "grafana", "streaming-daemon.json");

    public static string AlertsPath { get; } = Tool.InRepository("deploy", "prometheus", "alerts.yml");

    /// <summary>Each query of the dashboard, by its panel's title, with the variables filled in as
    /// Grafana does.</summary>
    public static IEnumerable<(string Title, string Expression)> OfDashboard()
    {
        using var document = JsonDocument.Parse(File.ReadAllText(DashboardPath));
        foreach (var panel in document.RootElement.GetProperty("panels").EnumerateArray())
        {
            foreach (var target in panel.GetProperty("targets").EnumerateArray())
            {
                yield return (panel.GetProperty("title").GetString()!, WithVariables(target.GetProperty("expr").GetString()!, "1m"));
            }
        }
    }

    /// <summary>A query with everything selected in the dashboard's lists.</summary>
    public static string WithVariables(string expression, string rateInterval) => expression
        .Replace("$__rate_interval", rateInterval, StringComparison.Ordinal)
        .Replace("$job", ".+", StringComparison.Ordinal)
        .Replace("$instance", ".+", StringComparison.Ordinal);

    /// <summary>The expressions of the alerts, as one text, and the alerts' names.</summary>
    public static (string Text, IReadOnlyList<string> Names) OfAlerts()
    {
        var lines = File.ReadAllLines(AlertsPath);
        var names = lines.Where(l => l.Contains("- alert: ", StringComparison.Ordinal))
            .Select(l => l.Split(": ")[1]).ToList();
        var expressions = Expr().Matches(string.Join('\n', lines)).Select(m => m.Groups[1].Value);
        return (string.Join('\n', expressions), names);
    }

    /// <summary>Each metric that PromQL names, with its matchers.</summary>
    public static IEnumerable<(string Metric, IReadOnlyList<(string Label, string Value)> Matchers)> Selectors(
        string promql) =>
        from Match match in Selector().Matches(promql)
        select (match.Groups[1].Value, (IReadOnlyList<(string, string)>)
        [
            .. Matcher().Matches(match.Groups[2].Value).Select(m => (m.Groups[1].Value, m.Groups[2].Value)),
        ]);

    /// <summary>Labels by which PromQL groups or joins.</summary>
    public static IEnumerable<string> Groupings(string promql) =>
        Grouping().Matches(promql).SelectMany(m => m.Groups[1].Value.Split(',', StringSplitOptions.TrimEntries));

    [GeneratedRegex(@"^ +expr: (?:\|\n)?((?:.*\n)(?: {10,}.*\n)*)", RegexOptions.Multiline)]
    private static partial Regex Expr();

    [GeneratedRegex(@"\b((?:streaming_daemon|process|dotnet)_\w+|up)\b(?:\{([^}]*)\})?")]
    private static partial Regex Selector();

    [GeneratedRegex(@"(\w+)(?:=~|=|!=|!~)""([^""]*)""")]
    private static partial Regex Matcher();

    [GeneratedRegex(@"\b(?:by|on) \(([^)]*)\)")]
    private static partial Regex Grouping();
}
