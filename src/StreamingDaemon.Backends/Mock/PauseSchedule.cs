using System.Diagnostics;

namespace StreamingDaemon.Backends.Mock;

/// <summary>When a pause is due, in whole ticks of 1 ms: everything due in one tick wakes one thread
/// once.</summary>
internal static class PauseSchedule
{
    /// <summary>Length of a tick, in ticks of <see cref="Stopwatch"/>.</summary>
    public static readonly long TickLength = Stopwatch.Frequency / 1000;

    /// <summary>The tick in which a pause ends that begins now.</summary>
    /// <remarks>
    /// A stream goes on some time after its pause was due: a thread had to wake up, and other streams ran
    /// first. If each pause began at that moment and ended with a whole tick, every pause of 50 ms would be
    /// one of 51. So a stream that is late by less than a tick keeps to its schedule. A later one is rounded
    /// to the nearest tick: then pauses are neither longer nor shorter in the mean.
    /// </remarks>
    /// <param name="now">Since the wheel's start, in ticks of <see cref="Stopwatch"/>.</param>
    /// <param name="lastDue">When the stream's last pause was due; 0 before its first one, which never ends
    /// early.</param>
    /// <param name="milliseconds">At least 1.</param>
    /// <returns>After the current tick, and at least <paramref name="milliseconds"/> after
    /// <paramref name="lastDue"/>.</returns>
    public static long DueTick(long now, long lastDue, int milliseconds)
    {
        var (whole, rest) = Math.DivRem(now, TickLength);
        if (lastDue == 0)
            return whole + milliseconds + (rest == 0 ? 0 : 1);
        var begins = whole <= lastDue ? lastDue : rest * 2 < TickLength ? whole : whole + 1;
        return begins + milliseconds;
    }
}
