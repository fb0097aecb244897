using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Trials;

/// <summary>One daemon under one load.</summary>
internal sealed record TrialPlan
{
    /// <summary>The daemon's name in reports.</summary>
    public required string Label { get; init; }

    /// <summary>The daemon's command line, which contains @SOCK@ and perhaps @PORT@ and @UPORT@.</summary>
    public required string Daemon { get; init; }

    /// <summary>The upstream's command line, which contains @UPORT@; null for none.</summary>
    public string? Upstream { get; init; }

    public required LoadPlan Load { get; init; }

    public required AnswerShape Shape { get; init; }

    /// <summary>Streams before the counted ones, to compile code and fill pools.</summary>
    public int WarmUp { get; init; }

    /// <summary>The first stream of the load is the daemon's first stream: another process of it shows what
    /// to expect. The same load follows once more, for comparison.</summary>
    public bool Cold { get; init; }

    /// <summary>Wait between the last stream and the last memory reading.</summary>
    public TimeSpan Settle { get; init; } = TimeSpan.FromSeconds(1);
}
