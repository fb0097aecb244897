using System.Globalization;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Report;

/// <summary>Several trials as text: a column per daemon, medians over its rounds, ratios pair by
/// pair.</summary>
internal static class Summary
{
    /// <summary>The table of one load.</summary>
    /// <param name="output">Receives the table.</param>
    /// <param name="results">All trials of that load, of any daemon and round.</param>
    public static void Write(TextWriter output, IReadOnlyList<TrialResult> results)
    {
        var byDaemon = results.GroupBy(r => r.Plan.Label).ToList();
        var width = Math.Max(14, byDaemon.Max(d => d.Key.Length) + 2);
        output.WriteLine($"{"",-34}{string.Concat(byDaemon.Select(d => d.Key.PadLeft(width)))}"
            + (byDaemon.Count > 1 ? "   ratio to the first: median [least, most]" : ""));
        foreach (var figure in Figure.All)
        {
            var medians = byDaemon.Select(d => Median(d.Select(figure.Value))).ToList();
            if (medians.All(m => m is null))
                continue;
            var columns = string.Concat(medians.Select(m => Figure.Show(m).PadLeft(width)));
            output.WriteLine($"{figure.Name,-34}{columns}{Ratios(figure, byDaemon)}");
        }

        foreach (var daemon in byDaemon)
        {
            if (daemon.Select(r => r.Load.HandoffError).FirstOrDefault(e => e is not null) is { } error)
                output.WriteLine($"{daemon.Key}: the first handoff that failed: {error}");
            if (daemon.Any(r => !r.PeakIsOfLoad))
                output.WriteLine($"{daemon.Key}: the peak is of its whole life (clear_refs is not allowed)");
            if (daemon.Select(r => r.Syscalls).FirstOrDefault(s => s is not null) is { } syscalls)
            {
                output.WriteLine($"{daemon.Key}: system calls: " + string.Join(", ", syscalls.Calls
                    .OrderByDescending(c => c.Value).Take(8).Select(c => $"{c.Key} {c.Value}")));
            }
        }
    }

    /// <summary>The median of the values present; null if there are none.</summary>
    public static double? Median(IEnumerable<double?> values)
    {
        var sorted = values.Where(v => v is not null).Select(v => v!.Value).Order().ToList();
        if (sorted.Count == 0)
            return null;
        var middle = sorted.Count / 2;
        return sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    private static double? Ratio(double? first, double? second) => first > 0 ? second / first : null;

    private static string Ratios(Figure figure, List<IGrouping<string, TrialResult>> byDaemon)
    {
        if (!figure.IsCost || byDaemon.Count < 2)
            return "";
        var text = "";
        foreach (var other in byDaemon.Skip(1))
        {
            // Within a round the machine was the same: so ratios first, then the median.
            var ratios = byDaemon[0].Join(other, r => r.Round, r => r.Round,
                (first, second) => Ratio(figure.Value(first), figure.Value(second)))
                .Where(r => r is not null).ToList();
            text += ratios.Count == 0 ? "   -" : string.Create(CultureInfo.InvariantCulture,
                $"   {Median(ratios):0.00} [{ratios.Min():0.00}, {ratios.Max():0.00}]");
        }

        return text;
    }
}
