namespace StreamingDaemon.Uring.Timers;

/// <summary>
/// A deadline in a <see cref="TimerWheel"/>. Loop-owned. Moving it later costs a store: it is found and put
/// where it belongs when its old place in the wheel comes round.
/// </summary>
internal abstract class LoopTimer
{
    internal LoopTimer? Previous;
    internal LoopTimer? Next;
    internal long WheelTick = -1;

    /// <summary>When it fires, in milliseconds of the loop's clock; <see cref="long.MaxValue"/> is
    /// never.</summary>
    public long DeadlineMs { get; internal set; } = long.MaxValue;
}

/// <summary>
/// One hashed timer wheel for every deadline of a loop. Loop-owned; set, move and cancel are O(1) and
/// allocate nothing. Deadlines fire up to one tick late, never early.
/// </summary>
internal sealed class TimerWheel
{
    public const int TickMs = 16;
    private const int Buckets = 1024;

    private readonly LoopTimer?[] _buckets = new LoopTimer?[Buckets];
    private readonly List<LoopTimer> _due = [];
    private long _tick;
    private int _count;

    public TimerWheel(long nowMs) => _tick = nowMs / TickMs;

    /// <summary>Number of timers in the wheel, including those whose deadline moved to never.</summary>
    public int Count => _count;

    public void Set(LoopTimer timer, long deadlineMs)
    {
        timer.DeadlineMs = deadlineMs;
        var tick = Math.Max(TickOf(deadlineMs), _tick + 1);
        if (timer.WheelTick >= 0)
        {
            // Later than where it stands: Advance moves it on. Earlier: it must move now.
            if (tick >= timer.WheelTick)
                return;
            Unlink(timer);
        }

        Link(timer, tick);
    }

    /// <summary>Disarms the timer without touching the wheel's lists.</summary>
    public static void Clear(LoopTimer timer) => timer.DeadlineMs = long.MaxValue;

    /// <summary>Takes the timer out, before its owner is reused.</summary>
    public void Remove(LoopTimer timer)
    {
        timer.DeadlineMs = long.MaxValue;
        if (timer.WheelTick >= 0)
            Unlink(timer);
    }

    /// <summary>Milliseconds until the wheel must be looked at again, or -1 if it is empty.</summary>
    public int WaitMs(long nowMs)
    {
        if (_count == 0)
            return -1;
        for (var tick = _tick + 1; tick <= _tick + Buckets; tick++)
        {
            if (_buckets[tick & (Buckets - 1)] is not null)
                return (int)Math.Max(0, tick * TickMs - nowMs);
        }

        return Buckets * TickMs;
    }

    /// <summary>Fires what is due.</summary>
    public void Advance(long nowMs, Action<LoopTimer> fire)
    {
        var now = nowMs / TickMs;
        // A wheel that was not looked at for more than a round holds every timer within one round.
        var from = Math.Max(_tick + 1, now - Buckets + 1);
        for (var tick = from; tick <= now && _count > 0; tick++)
        {
            _tick = tick;
            FireBucket(tick, nowMs, fire);
        }

        _tick = Math.Max(_tick, now);
    }

    private void FireBucket(long tick, long nowMs, Action<LoopTimer> fire)
    {
        for (var timer = _buckets[tick & (Buckets - 1)]; timer is not null;)
        {
            var next = timer.Next;
            if (timer.WheelTick <= tick)
            {
                Unlink(timer);
                if (timer.DeadlineMs <= nowMs)
                    _due.Add(timer);
                else if (timer.DeadlineMs != long.MaxValue)
                    Link(timer, Math.Max(TickOf(timer.DeadlineMs), tick + 1));
            }

            timer = next;
        }

        // Fired after the bucket is in order again: a callback may set, clear or remove any timer, even one
        // of these.
        for (var i = 0; i < _due.Count; i++)
        {
            var timer = _due[i];
            if (timer.WheelTick >= 0 || timer.DeadlineMs > nowMs)
                continue;
            timer.DeadlineMs = long.MaxValue;
            fire(timer);
        }

        _due.Clear();
    }

    private static long TickOf(long deadlineMs) => (deadlineMs + TickMs - 1) / TickMs;

    private void Link(LoopTimer timer, long tick)
    {
        ref var head = ref _buckets[tick & (Buckets - 1)];
        timer.WheelTick = tick;
        timer.Previous = null;
        timer.Next = head;
        if (head is not null)
            head.Previous = timer;
        head = timer;
        _count++;
    }

    private void Unlink(LoopTimer timer)
    {
        if (timer.Previous is not null)
            timer.Previous.Next = timer.Next;
        else
            _buckets[timer.WheelTick & (Buckets - 1)] = timer.Next;
        if (timer.Next is not null)
            timer.Next.Previous = timer.Previous;
        timer.Previous = timer.Next = null;
        timer.WheelTick = -1;
        _count--;
    }
}
