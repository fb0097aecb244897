using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>What became of the streams of one run.</summary>
internal sealed class LoadResult(StreamTimings timings)
{
    public Dictionary<StreamVerdict, int> Verdicts { get; } = [];

    public StreamTimings Timings { get; } = timings;

    /// <summary>Why the first failed handoff failed, or null.</summary>
    public string? HandoffError { get; set; }

    /// <summary>The most streams that were open at a time.</summary>
    public int PeakOpen { get; set; }

    /// <summary>From the first arrival until the last stream was over, seconds.</summary>
    public double AllInSeconds { get; set; }

    public int Good => Verdicts.GetValueOrDefault(StreamVerdict.Good);

    public int Total => Verdicts.Values.Sum();
}
