using HdrHistogram;
using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Report;

/// <summary>The plots of a run: latencies, memory over time, and a stream's cost as the number of streams
/// grows.</summary>
internal static class Plots
{
    private static readonly double[] s_percentiles =
        [0, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9, 99.95, 99.99];

    /// <summary>Writes the files and returns their paths.</summary>
    public static IReadOnlyList<string> Write(string directory, IReadOnlyList<TrialResult> results)
    {
        Directory.CreateDirectory(directory);
        var paths = new List<string>();
        void Save(string name, SvgPlot plot)
        {
            paths.Add(Path.Combine(directory, name));
            plot.Write(paths[^1]);
        }

        var loads = results.GroupBy(r => r.Plan.Load.Slots).OrderBy(g => g.Key).ToList();
        foreach (var load in loads)
        {
            Save($"latency-{load.Key}.svg", Latencies($"{load.Key} streams", [.. load]));
            Save($"memory-{load.Key}.svg", Memory($"{load.Key} streams", [.. load]));
        }

        if (loads.Count > 1)
        {
            Save("growth-cpu.svg", Growth("CPU a stream", "us", r => r.CpuMicrosecondsPerStream, results));
            Save("growth-memory.svg", Growth("Memory a stream", "KB",
                r => r.KbPerStream, results));
        }

        return paths;
    }

    private static SvgPlot Latencies(string title, IReadOnlyList<TrialResult> results)
    {
        var series = new List<PlotSeries>();
        foreach (var daemon in results.GroupBy(r => r.Plan.Label))
        {
            var all = new StreamTimings(0);
            foreach (var result in daemon)
                all.Add(result.Load.Timings);
            foreach (var (name, values) in new[]
                { ("head", all.Head), ("first token", all.FirstToken), ("gap error", all.GapError) })
            {
                if (values.TotalCount > 0)
                    series.Add(new PlotSeries($"{daemon.Key}: {name}", Curve(values)));
            }
        }

        var points = series.SelectMany(s => s.Points).Select(p => p.Y).DefaultIfEmpty(1).ToList();
        return new SvgPlot($"Latency, {title}", PlotAxis.Percentiles,
            PlotAxis.Logarithmic("ms", Math.Max(points.Min(), 0.01), points.Max()), series);
    }

    private static IReadOnlyList<(double, double)> Curve(LongHistogram values) =>
        [.. s_percentiles.Select(p => (p, values.GetValueAtPercentile(p) / 1_000.0))];

    private static SvgPlot Memory(string title, IReadOnlyList<TrialResult> results)
    {
        // The last round of each: one line per daemon.
        var series = results.GroupBy(r => r.Plan.Label).Select(d => new PlotSeries(d.Key,
            [.. d.Last().Memory.Select(m => (m.Seconds, m.Kb / 1024.0))])).ToList();
        var points = series.SelectMany(s => s.Points).ToList();
        return new SvgPlot($"Resident memory, {title}",
            PlotAxis.Linear("seconds since the first arrival", points.Max(p => p.X)),
            PlotAxis.Linear("MB", points.Max(p => p.Y)), series);
    }

    private static SvgPlot Growth(
        string title, string unit, Func<TrialResult, double> value, IReadOnlyList<TrialResult> results)
    {
        var series = results.GroupBy(r => r.Plan.Label).Select(d => new PlotSeries(d.Key,
            [.. d.GroupBy(r => r.Plan.Load.Slots).OrderBy(g => g.Key)
                .Select(g => ((double)g.Key, Summary.Median(g.Select(r => Finite(value(r)))) ?? 0))]))
            .ToList();
        var points = series.SelectMany(s => s.Points).ToList();
        return new SvgPlot(title, PlotAxis.Linear("streams at once", points.Max(p => p.Item1)),
            PlotAxis.Linear(unit, points.Max(p => p.Item2)), series);
    }

    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}
