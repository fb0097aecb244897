using System.Text.Json;
using System.Text.RegularExpressions;

namespace StreamingDaemon.DeployTests;

/// <summary>A query of a panel, with the name that Grafana gives its series.</summary>
internal sealed record PanelQuery(string Expression, string Legend);

/// <summary>A panel, as far as a picture needs it: its position and its queries.</summary>
/// <param name="RightAxis">Regular expression for the series that use the right axis.</param>
internal sealed record Panel(string Title, string Type, int X, int Y, int Width, int Height, string Unit,
    bool Stacked, bool Bars, Regex? RightAxis, IReadOnlyList<PanelQuery> Queries);

/// <summary>The dashboard's own file.</summary>
internal static class Dashboard
{
    /// <param name="rateInterval">Grafana's value for $__rate_interval: four scrapes.</param>
    public static IReadOnlyList<Panel> Read(string rateInterval)
    {
        using var document = JsonDocument.Parse(File.ReadAllText(Expressions.DashboardPath));
        return
        [
            .. document.RootElement.GetProperty("panels").EnumerateArray().Select(p => ReadPanel(p, rateInterval)),
        ];
    }

    private static Panel ReadPanel(JsonElement panel, string rateInterval)
    {
        var place = panel.GetProperty("gridPos");
        var defaults = panel.GetProperty("fieldConfig").GetProperty("defaults");
        var custom = defaults.GetProperty("custom");
        var right = panel.GetProperty("fieldConfig").GetProperty("overrides").EnumerateArray()
            .Where(o => o.GetProperty("properties")[0].GetProperty("id").GetString() == "custom.axisPlacement")
            .Select(o => new Regex(o.GetProperty("matcher").GetProperty("options").GetString()!)).FirstOrDefault();
        return new Panel(panel.GetProperty("title").GetString()!, panel.GetProperty("type").GetString()!,
            place.GetProperty("x").GetInt32(), place.GetProperty("y").GetInt32(),
            place.GetProperty("w").GetInt32(), place.GetProperty("h").GetInt32(),
            defaults.GetProperty("unit").GetString()!,
            custom.TryGetProperty("stacking", out _), custom.TryGetProperty("drawStyle", out _), right,
            [
                .. panel.GetProperty("targets").EnumerateArray().Select(t => new PanelQuery(
                    Expressions.WithVariables(t.GetProperty("expr").GetString()!, rateInterval),
                    t.GetProperty("legendFormat").GetString()!)),
            ]);
    }
}
