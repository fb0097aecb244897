using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>How the streams of one run ended.</summary>
internal sealed class LoadResult(StreamTimings timings)
{
    public Dictionary<StreamVerdict, int> Verdicts { get; } = [];

    public StreamTimings Timings { get; } = timings;

    /// <summary>Why the first failed handoff failed, or null.</summary>
    public string? HandoffError { get; set; }

    /// <summary>Most streams open at once.</summary>
    public int PeakOpen { get; set; }

    /// <summary>From the first arrival until the last stream was over, seconds.</summary>
    public double AllInSeconds { get; set; }

    public int Good => Verdicts.GetValueOrDefault(StreamVerdict.Good);

    public int Total => Verdicts.Values.Sum();
}
