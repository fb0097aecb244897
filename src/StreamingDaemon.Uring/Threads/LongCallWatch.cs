using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Detects one long computation among calls that are not measured. To read the thread's CPU time around each
/// call would cost two system calls. This reads it at most once in each tick of the system's coarse clock,
/// and once more when a call has lasted beyond its tick. Used by one thread at a time.
/// </summary>
internal sealed class LongCallWatch
{
    private static readonly long s_tickNs = ThreadTime.CoarseTickNs();

    private long _tick = -1;
    private long _ranNs;

    /// <summary>Another thread makes the calls from now on.</summary>
    public void Reset() => _tick = -1;

    /// <summary>Call it before a call.</summary>
    public void Begin()
    {
        var tick = Environment.TickCount64;
        if (tick == _tick)
            return;
        _tick = tick;
        _ranNs = ThreadTime.OfThisThread();
    }

    /// <summary>Call it after the call.</summary>
    /// <returns>CPU time that the call took at the least, nanoseconds; 0 if it ended in the tick in which it
    /// began.</returns>
    public long End()
    {
        if (Environment.TickCount64 == _tick)
            return 0;
        // What the thread did earlier in that tick is not the call's.
        return Math.Max(0, ThreadTime.OfThisThread() - _ranNs - s_tickNs);
    }
}
