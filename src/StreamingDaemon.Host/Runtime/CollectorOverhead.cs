using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Ends a process that does nothing but look for memory. A heap that is full lets each thread allocate a
/// little after every collection: no exception comes, but nothing is served either, neither a stream nor
/// <c>/health</c>. A new process serves.
/// </summary>
/// <param name="end">Ends the process.</param>
internal sealed class CollectorOverhead(Action end)
{
    /// <summary>Time between two looks.</summary>
    private const int IntervalMs = 1_000;

    /// <summary>A look later than this says nothing: the process may have been stopped meanwhile.</summary>
    private const int LateMs = 3_000;

    /// <summary>Share of the time in which the collector held every thread.</summary>
    private const double MaxShare = 0.9;

    /// <summary>Share of the memory that the heap may have.</summary>
    private const double FullShare = 0.9;

    /// <summary>Looks in a row that must find both.</summary>
    private const int MaxLooks = 10;

    private long _lookedMs;
    private TimeSpan _paused;
    private int _looks;

    /// <summary>On a thread that runs while there are streams. Allocates nothing, except where the collector
    /// takes most of the time.</summary>
    public void Look()
    {
        var now = Environment.TickCount64;
        if (now - _lookedMs >= IntervalMs && Look(now, GC.GetTotalPauseDuration()))
            end();
    }

    /// <param name="nowMs">Time of this look.</param>
    /// <param name="paused">How long the collector has held all threads since the start.</param>
    /// <param name="used">Share of its memory that the heap uses; null to ask the runtime.</param>
    /// <returns>True if the process should end.</returns>
    internal bool Look(long nowMs, TimeSpan paused, double? used = null)
    {
        var passedMs = nowMs - _lookedMs;
        var isBusy = passedMs < LateMs && (paused - _paused).TotalMilliseconds >= MaxShare * passedMs;
        (_lookedMs, _paused) = (nowMs, paused);
        _looks = isBusy && (used ?? UsedShare()) >= FullShare ? _looks + 1 : 0;
        return _looks >= MaxLooks;
    }

    private static double UsedShare()
    {
        try
        {
            var memory = GC.GetGCMemoryInfo(GCKind.Any);
            return (double)memory.TotalCommittedBytes / memory.TotalAvailableMemoryBytes;
        }
        catch (OutOfMemoryException)
        {
            OutOfMemory.Survive();
            return 1;
        }
    }
}
