using System.Globalization;
using StreamingDaemon.Bench.Streams;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Report;

/// <summary>One number of a trial, for tables, ratios, and JSON.</summary>
/// <param name="Name">With its unit.</param>
/// <param name="Value">Null if this trial has none.</param>
/// <param name="IsCost">Less is better, and a ratio of two daemons is meaningful.</param>
internal sealed record Figure(string Name, Func<TrialResult, double?> Value, bool IsCost = false)
{
    private static readonly double[] s_percentiles = [50, 95, 99, 99.9, 100];

    /// <summary>Calls caused by tokens: a loop's turns and its wakes, by io_uring or epoll. The rest come
    /// from a stream's beginning and end, and from the runtime's threads.</summary>
    private static readonly string[] s_perToken = ["io_uring_enter", "epoll_wait", "write", "sendto"];

    /// <summary>All figures, in the order of the table.</summary>
    public static IReadOnlyList<Figure> All { get; } =
        [.. Outcomes(), .. Costs(), .. Latencies(), .. Others()];

    /// <summary>The number with three significant digits.</summary>
    public static string Show(double? value) => value switch
    {
        null or double.NaN or double.PositiveInfinity => "-",
        0 => "0",
        >= 1_000 or <= -1_000 => value.Value.ToString("0", CultureInfo.InvariantCulture),
        >= 100 or <= -100 => value.Value.ToString("0.#", CultureInfo.InvariantCulture),
        >= 1 or <= -1 => value.Value.ToString("0.##", CultureInfo.InvariantCulture),
        _ => value.Value.ToString("0.####", CultureInfo.InvariantCulture),
    };

    public static double? Percentile(HdrHistogram.LongHistogram values, double percentile) =>
        values.TotalCount == 0 ? null : values.GetValueAtPercentile(percentile) / 1_000.0;

    private static IEnumerable<Figure> Outcomes()
    {
        yield return new("good streams", r => r.Load.Good);
        foreach (var verdict in Enum.GetValues<StreamVerdict>().Where(v => v > StreamVerdict.Good))
        {
            yield return new($"  {verdict}", r => r.Load.Verdicts.TryGetValue(verdict, out var count)
                ? count : null);
        }

        yield return new("open at a time, at most", r => r.Load.PeakOpen);
        yield return new("all in, s", r => r.Load.AllInSeconds, true);
        yield return new("good streams a second", r => r.Load.Good / r.Load.AllInSeconds);
    }

    private static IEnumerable<Figure> Costs() =>
    [
        new("CPU user, s", r => r.After.UserSeconds - r.Before.UserSeconds, true),
        new("CPU system, s", r => r.After.SystemSeconds - r.Before.SystemSeconds, true),
        new("CPU a stream, us", r => Finite(r.CpuMicrosecondsPerStream), true),
        new("CPU a stream, next as many, us", r => Finite(r.Second?.CpuMicrosecondsPerStream), true),
        new("CPU a stream, first of next",
            r => Finite(r.CpuMicrosecondsPerStream / r.Second?.CpuMicrosecondsPerStream)),
        new("CPU a stream, floors", r => Finite(r.CpuMicrosecondsPerStream / r.FloorMicroseconds), true),
        new("page faults a stream", r => Finite(r.FaultsPerStream), true),
        new("page faults, next as many", r => Finite(r.Second?.FaultsPerStream), true),
        new("log lines a stream", r => Finite((double)r.LogLines / r.Load.Total)),
        new("CPU an event, us", r => Finite(r.CpuMicrosecondsPerEvent), true),
        new("floor, us an event", r => r.FloorMicroseconds),
        new("CPU an event, floors", r => Finite(r.CpuMicrosecondsPerEvent / r.FloorMicroseconds), true),
        new("memory at rest, MB", r => r.AtRest.ResidentKb / 1024.0, true),
        new("memory before the load, MB", r => r.Before.ResidentKb / 1024.0, true),
        new("memory at its peak, MB", r => r.PeakKb / 1024.0, true),
        new("memory at the end, MB", r => r.Settled.ResidentKb / 1024.0, true),
        new("memory a stream, KB", r => Finite(r.KbPerStream), true),
        new("threads", r => r.After.Threads, true),
        new("switches an event, voluntary",
            r => PerEvent(r, r.After.VoluntarySwitches - r.Before.VoluntarySwitches), true),
        new("switches an event, involuntary",
            r => PerEvent(r, r.After.InvoluntarySwitches - r.Before.InvoluntarySwitches), true),
        new("system calls a token",
            r => r.Syscalls is { } s ? Finite((double)s.Calls.Values.Sum() / s.Tokens) : null, true),
        new("enter and wake calls a token", r => r.Syscalls is { } s
            ? Finite((double)s_perToken.Sum(name => s.Calls.GetValueOrDefault(name)) / s.Tokens) : null, true),
        new("collections",
            r => r.Runtime is { Collections.Count: > 0 } c ? c.Collections.Values.Sum() : null),
        new("allocated a token, B", r => Finite(r.Runtime?.AllocatedBytes / r.Tokens), true),
    ];

    private static IEnumerable<Figure> Latencies()
    {
        string[] names = ["handoff", "head", "first token", "gap", "gap error", "duration"];
        foreach (var name in names)
        {
            foreach (var percentile in s_percentiles)
            {
                yield return new(
                    string.Create(CultureInfo.InvariantCulture,
                        $"{name} {(percentile == 100 ? "max" : $"p{percentile}")}, ms"),
                    r => Percentile(r.Load.Timings.All.First(t => t.Name == name).Values, percentile), true);
            }
        }
    }

    private static IEnumerable<Figure> Others() =>
    [
        new("generator's CPU, s", r => r.OwnCpuSeconds),
        new("upstream's CPU, s", r => r.UpstreamCpuSeconds),
        new("cores left idle", r => r.Machine.IdleCores(Environment.ProcessorCount)),
        new("stolen by the host, % of busy time", r => r.Machine.StolenShare * 100),
    ];

    private static double? PerEvent(TrialResult result, long count) => Finite((double)count / result.Events);

    private static double? Finite(double? value) =>
        value is { } number && double.IsFinite(number) ? number : null;
}
