using System.Diagnostics;

namespace StreamingDaemon.Bench.Load;

/// <summary>
/// When each stream of an open loop is due. Latencies count from this moment, not from when the generator or
/// the daemon got to it: a stalled daemon must not delay the arrival of its own victims (coordinated
/// omission).
/// </summary>
/// <param name="start">The first arrival, in <see cref="Stopwatch"/> ticks.</param>
/// <param name="rate">Arrivals a second; 0 is all at once.</param>
internal sealed class ArrivalSchedule(long start, double rate)
{
    /// <summary>When the stream with that number, from 0, is due.</summary>
    public long At(int index) =>
        rate <= 0 ? start : start + (long)Math.Round(index * (double)Stopwatch.Frequency / rate);
}
