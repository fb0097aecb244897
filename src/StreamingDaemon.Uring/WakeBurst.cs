using StreamingDaemon.Uring.Loop;

namespace StreamingDaemon.Uring;

/// <summary>
/// What one thread flushes between <see cref="Begin"/> and <see cref="End"/> wakes the loops at the end, once,
/// instead of at the first flush: the loop would wake up for one event, send it, fall asleep, and be woken for
/// the next one, and a thread's way to sleep and back costs more than the event.
/// </summary>
public static class WakeBurst
{
    [ThreadStatic]
    private static bool t_isOpen;

    [ThreadStatic]
    private static List<EventLoop>? t_asleep;

    /// <summary>Bursts of one thread do not nest.</summary>
    /// <exception cref="InvalidOperationException">One is open.</exception>
    public static void Begin()
    {
        if (t_isOpen)
            throw new InvalidOperationException("a burst of this thread is open");
        t_isOpen = true;
    }

    /// <summary>Wakes the loops that were posted to; without a burst, nothing.</summary>
    public static void End()
    {
        t_isOpen = false;
        if (t_asleep is not { Count: > 0 } loops)
            return;
        foreach (var loop in loops)
            loop.Wake();
        loops.Clear();
    }

    /// <returns>False where there is no burst: the loop is to be woken now.</returns>
    internal static bool Defers(EventLoop loop)
    {
        if (!t_isOpen)
            return false;
        // As many as there are loops: a handful.
        var loops = t_asleep ??= [];
        if (!loops.Contains(loop))
            loops.Add(loop);
        return true;
    }
}
