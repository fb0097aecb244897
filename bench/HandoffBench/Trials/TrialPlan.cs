using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Trials;

/// <summary>One daemon under one load.</summary>
internal sealed record TrialPlan
{
    /// <summary>How reports call the daemon.</summary>
    public required string Label { get; init; }

    /// <summary>The daemon's command line, with @SOCK@ and perhaps @PORT@ and @UPORT@ in it.</summary>
    public required string Daemon { get; init; }

    /// <summary>The upstream's command line, with @UPORT@ in it; null for none.</summary>
    public string? Upstream { get; init; }

    public required LoadPlan Load { get; init; }

    public required AnswerShape Shape { get; init; }

    /// <summary>Streams before the ones that count, so that code is compiled and pools are filled.</summary>
    public int WarmUp { get; init; }

    /// <summary>After the last stream, until memory is looked at for the last time.</summary>
    public TimeSpan Settle { get; init; } = TimeSpan.FromSeconds(1);
}
