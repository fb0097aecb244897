using StreamingDaemon.Bench.Report;
using StreamingDaemon.Bench.Streams;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Targets;

/// <summary>A figure with its upper limit.</summary>
internal sealed record Target(string Name, double Most, Func<TrialResult, double?> Value)
{
    /// <summary>A figure of the table, by its name there.</summary>
    public static Target Of(string figure, double most) =>
        new(figure, most, Figure.All.Single(f => f.Name == figure).Value);

    /// <summary>Streams that were not good; none is allowed.</summary>
    public static Target NoneLost { get; } =
        new("lost, cut, refused or late streams", 0, r => r.Load.Total - r.Load.Good
            + (r.Second is { } second ? second.Load.Total - second.Load.Good : 0));
}

/// <summary>One load in the table of targets.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Plan">The daemon and the load.</param>
/// <param name="Targets">The targets for its figures.</param>
internal sealed record Scenario(string Name, TrialPlan Plan, IReadOnlyList<Target> Targets)
{
    public int Rounds { get; init; } = 1;

    /// <summary>Counts system calls too, in a separate run.</summary>
    public bool CountsSyscalls { get; init; }
}
