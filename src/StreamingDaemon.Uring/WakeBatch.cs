using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring;

/// <summary>
/// Flushes that one thread makes between <see cref="Begin"/> and <see cref="End"/> wake the loops once, at
/// the end. Woken at the first flush, the loop would send one event, fall asleep, and be woken for the next.
/// A thread's way to sleep and back costs more than the event. Batches may nest; the outermost counts.
/// </summary>
public static class WakeBatch
{
    [ThreadStatic]
    private static int s_depth;

    [ThreadStatic]
    private static List<LoopMailbox>? s_asleep;

    /// <summary>Begins a batch on this thread.</summary>
    public static void Begin() => s_depth++;

    /// <summary>Ends it, and wakes the loops that were posted to.</summary>
    public static void End() => Close(isLater: false);

    /// <summary>Ends it, and wakes the loops once the thread pool has reached what is queued by now, or after
    /// a few such batches. For work items in a row that each flush a little.</summary>
    public static void EndLater() => Close(isLater: true);

    /// <returns>False if there is no batch: wake the loop now.</returns>
    internal static bool Defers(LoopMailbox loop)
    {
        if (s_depth == 0)
            return false;
        // One per loop at most: a handful.
        var loops = s_asleep ??= [];
        if (!loops.Contains(loop))
            loops.Add(loop);
        return true;
    }

    private static void Close(bool isLater)
    {
        if (--s_depth > 0 || s_asleep is not { Count: > 0 } loops)
            return;
        foreach (var loop in loops)
        {
            if (isLater)
                loop.WakeLater();
            else
                loop.Wake();
        }

        loops.Clear();
    }
}
