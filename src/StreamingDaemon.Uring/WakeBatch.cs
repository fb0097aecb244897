using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring;

/// <summary>
/// What one thread flushes between <see cref="Begin"/> and <see cref="End"/> wakes the loops at the end,
/// once, instead of at the first flush: the loop would wake up for one event, send it, fall asleep, and be
/// woken for the next one, and a thread's way to sleep and back costs more than the event. Bursts may nest;
/// the outermost counts.
/// </summary>
public static class WakeBatch
{
    [ThreadStatic]
    private static int s_depth;

    [ThreadStatic]
    private static List<LoopMailbox>? s_asleep;

    /// <summary>Begins a burst on this thread.</summary>
    public static void Begin() => s_depth++;

    /// <summary>Ends it, and wakes the loops that were posted to.</summary>
    public static void End() => Close(isLater: false);

    /// <summary>Ends it, and wakes the loops once the thread pool has come to what is queued by now, or after
    /// a few such bursts: for work items that each flush a little, one behind the other.</summary>
    public static void EndLater() => Close(isLater: true);

    /// <returns>False where there is no burst: the loop is to be woken now.</returns>
    internal static bool Defers(LoopMailbox loop)
    {
        if (s_depth == 0)
            return false;
        // As many as there are loops: a handful.
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
