using System.Diagnostics;

namespace StreamingDaemon.Bench.Load;

/// <summary>
/// When each stream of an open loop is due. Latencies count from here and not from when the generator or the
/// daemon got round to it: a daemon that stalls must not make its own victims arrive later (coordinated
/// omission).
/// </summary>
/// <param name="start">Of the first arrival, in <see cref="Stopwatch"/> ticks.</param>
/// <param name="rate">Arrivals a second; 0 is all at once.</param>
internal sealed class ArrivalSchedule(long start, double rate)
{
    /// <summary>When the stream of that number, from 0, is due.</summary>
    public long At(int index) =>
        rate <= 0 ? start : start + (long)Math.Round(index * (double)Stopwatch.Frequency / rate);
}
