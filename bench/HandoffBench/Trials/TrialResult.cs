using StreamingDaemon.Bench.Daemon;
using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Trials;

/// <summary>What one daemon did and used under one load.</summary>
internal sealed class TrialResult
{
    public required TrialPlan Plan { get; init; }

    public required int Round { get; init; }

    public required ExpectedStream Expected { get; init; }

    public required LoadResult Load { get; init; }

    /// <summary>Before the first handoff.</summary>
    public required ProcessUsage AtRest { get; init; }

    /// <summary>After the probes and the warm-up, if there are any.</summary>
    public required ProcessUsage Before { get; init; }

    /// <summary>At the end of the last stream.</summary>
    public required ProcessUsage After { get; init; }

    /// <summary>After <see cref="TrialPlan.Settle"/>.</summary>
    public required ProcessUsage Settled { get; init; }

    /// <summary>The same load once more in the same process, of a cold trial; or null.</summary>
    public Repetition? Second { get; init; }

    /// <summary>Lines that the daemon wrote to its standard output and error during the load.</summary>
    public required long LogLines { get; init; }

    /// <summary>True if the peak covers the load alone, not the daemon's whole life.</summary>
    public required bool PeakIsOfLoad { get; init; }

    /// <summary>Seconds since the beginning, and KB.</summary>
    public required IReadOnlyList<(double Seconds, long Kb)> Memory { get; init; }

    /// <summary>The daemon's own metrics of its runtime, over the load; or null.</summary>
    public required RuntimeCounters? Runtime { get; init; }

    /// <summary>CPU of this generator.</summary>
    public required double OwnCpuSeconds { get; init; }

    /// <summary>CPU of the upstream, if there is one.</summary>
    public required double? UpstreamCpuSeconds { get; init; }

    /// <summary>All cores, over the load.</summary>
    public required MachineCpu Machine { get; init; }

    /// <summary>What the kernel alone charges for one event, measured in the same minute; µs.</summary>
    public double? FloorMicroseconds { get; set; }

    /// <summary>System calls of a separate run, by name, and that run's content events.</summary>
    public (IReadOnlyDictionary<string, long> Calls, long Tokens)? Syscalls { get; set; }

    /// <summary>Every stream was good.</summary>
    public bool IsWhole =>
        Load.Good == Load.Total && (Second is null || Second.Load.Good == Second.Load.Total);

    public double CpuSeconds => After.CpuSeconds - Before.CpuSeconds;

    /// <summary>Content events of all good streams.</summary>
    public long Tokens => (long)Load.Good * Expected.Events;

    /// <summary>Content events, heads and [DONE]s of all good streams.</summary>
    public long Events => (long)Load.Good * Expected.Sends;

    public double CpuMicrosecondsPerStream => CpuSeconds * 1e6 / Load.Good;

    public double FaultsPerStream => (double)(After.MinorFaults - Before.MinorFaults) / Load.Good;

    public double CpuMicrosecondsPerEvent => CpuSeconds * 1e6 / Events;

    /// <summary>Over the load and what follows it.</summary>
    public double PeakKb => Math.Max(LoadPeakKb, Settled.PeakKb);

    /// <summary>Over the load alone.</summary>
    public double LoadPeakKb => Math.Max(After.PeakKb, Before.ResidentKb);

    /// <summary>Memory that each of the concurrently open streams added, on average.</summary>
    public double KbPerStream => (LoadPeakKb - Before.ResidentKb) / Load.PeakOpen;
}

/// <summary>A load that followed the same one.</summary>
/// <param name="Load">How its streams ended.</param>
/// <param name="Before">When it began.</param>
/// <param name="After">At the end of its last stream.</param>
internal sealed record Repetition(LoadResult Load, ProcessUsage Before, ProcessUsage After)
{
    public double CpuMicrosecondsPerStream => (After.CpuSeconds - Before.CpuSeconds) * 1e6 / Load.Good;

    public double FaultsPerStream => (double)(After.MinorFaults - Before.MinorFaults) / Load.Good;
}
