using StreamingDaemon.Bench.Streams;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Targets;

/// <summary>A figure over several loads, with its upper limit.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Most">The target.</param>
/// <param name="Value">From one round's results, in the order of the plans.</param>
internal sealed record ComparedTarget(
    string Name, double Most, Func<IReadOnlyList<TrialResult>, double?> Value)
{
    /// <summary>The largest value of a figure divided by the smallest: 1 if all are the same.</summary>
    public static ComparedTarget Spread(string figure, double most)
    {
        var value = Target.Of(figure, most).Value;
        return new ComparedTarget($"{figure}, most of least", most, results =>
            results.Select(value).All(v => v > 0) ? results.Max(value) / results.Min(value) : null);
    }

    /// <summary>Streams that were neither good nor refused for lack of room.</summary>
    public static ComparedTarget NoneLost { get; } = new("neither whole nor refused", 0, results =>
        results.Sum(r => r.Load.Total - r.Load.Good - r.Load.Verdicts.GetValueOrDefault(StreamVerdict.Refused)));

    /// <summary>Good streams a second.</summary>
    public static double Goodput(TrialResult result) => result.Load.Good / result.Load.AllInSeconds;
}

/// <summary>Loads whose figures are compared with each other: measured in turns, compared within a
/// round.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Plans">The loads, each with the label of its figures.</param>
/// <param name="Targets">The targets for the loads together.</param>
internal sealed record Comparison(
    string Name, IReadOnlyList<TrialPlan> Plans, IReadOnlyList<ComparedTarget> Targets)
{
    public int Rounds { get; init; } = 1;

    /// <summary>Figures of each load that are printed beside the targets.</summary>
    public IReadOnlyList<string> Shown { get; init; } = [];
}
