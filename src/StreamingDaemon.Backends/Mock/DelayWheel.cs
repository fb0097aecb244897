using System.Diagnostics;

namespace StreamingDaemon.Backends.Mock;

/// <summary>
/// A hashed timer wheel: one thread for any number of delays, O(1) to add and to remove.
/// </summary>
/// <remarks>
/// Ten thousand mock streams would otherwise be ten thousand entries in the runtime's timer queues, each
/// added and removed every few milliseconds. Those queues use a clock that moves in steps of 4 ms. The wheel
/// turns only while something waits. <see cref="PauseSchedule"/> says when a delay is due; only whole elapsed
/// ticks count. <see cref="_gate"/> guards everything here. Expired delays are completed outside it: a few on
/// the wheel's thread, more on the thread pool, many to a work item. Waking a thread costs more than running
/// a delay.
/// </remarks>
/// <param name="shortestMs">The shortest delay that will be requested, milliseconds. If nothing is due, the
/// thread sleeps this long, because no new delay is due before it wakes.</param>
/// <param name="batch">Told which completions run together.</param>
internal sealed class DelayWheel(int shortestMs = 1, IWriteBatch? batch = null) : IDisposable
{
    /// <summary>A power of two. With ticks of 1 ms one turn is about a second, so that the usual delay of 50
    /// ms is checked once, and one of a minute sixty times.</summary>
    private const int SlotCount = 1024;

    /// <summary>Delays that end together and run one after the other, some microseconds each.</summary>
    private const int DelaysPerWorkItem = 32;

    private readonly object _gate = new();
    private readonly StreamDelay?[] _slots = new StreamDelay?[SlotCount];
    private readonly long _startTimestamp = Stopwatch.GetTimestamp();
    private Thread? _thread;
    private long _lastTick;
    private int _count;
    private bool _disposed;

    /// <summary>False to simulate that the system gives no thread, for tests.</summary>
    internal Func<bool>? MayStartThread { get; init; }

    internal IWriteBatch? Batch => batch;

    /// <summary>Delays waiting now; for tests.</summary>
    internal int PendingCount
    {
        get
        {
            lock (_gate)
                return _count;
        }
    }

    /// <summary>Makes the one delay that a stream reuses.</summary>
    /// <param name="cancellationToken">Ends a delay in progress, and refuses later ones.</param>
    public StreamDelay CreateDelay(CancellationToken cancellationToken) => new(this, cancellationToken);

    /// <summary>Ends all waiting delays as cancelled.</summary>
    public void Dispose()
    {
        StreamDelay? orphans = null;
        lock (_gate)
        {
            _disposed = true;
            for (var slot = 0; slot < SlotCount; slot++)
            {
                while (_slots[slot] is { } delay)
                {
                    Unlink(delay);
                    delay.Cancelled = true;
                    delay.Next = orphans;
                    orphans = delay;
                }
            }
        }

        lock (_gate)
            Monitor.Pulse(_gate);
        Complete(orphans);
    }

    /// <summary>Makes the thread now, because the system may refuse one later. If it refuses one now, the
    /// first delay tries again.</summary>
    public void Prepare()
    {
        lock (_gate)
        {
            try
            {
                if (_thread is null)
                    StartThread();
            }
            catch (Exception e) when (e is OutOfMemoryException or ThreadStartException)
            {
                // The stream that needs it fails, and reports it.
            }
        }
    }

    /// <returns>False if the delay was cancelled before; it is then not on the wheel.</returns>
    internal bool TryAdd(StreamDelay delay, int milliseconds)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (delay.Cancelled)
                return false;
            Debug.Assert(!delay.IsLinked, "A stream waits for one delay at a time.");
            // Before anything waits for it: if the system gives no thread, this stream fails, and the next
            // one tries again.
            var isNew = _thread is null;
            if (isNew)
                StartThread();
            // The wheel stood still while it was empty: skip the turns that nothing waited for.
            if (_count == 0)
                _lastTick = ElapsedTicks();
            delay.DueTick = PauseSchedule.DueTick(Elapsed(), delay.DueTick, milliseconds);
            Link(delay);
            if (!isNew && _count == 1)
                Monitor.Pulse(_gate);
            return true;
        }
    }

    private void StartThread()
    {
        if (MayStartThread?.Invoke() == false)
            throw new InsufficientMemoryException();
        var thread = new Thread(Run, maxStackSize: 256 * 1024) { Name = "mock delays", IsBackground = true };
        // The other streams must not inherit the first stream's execution context.
        thread.UnsafeStart();
        _thread = thread;
    }

    private void Run()
    {
        while (true)
        {
            long wakeTick;
            lock (_gate)
            {
                while (_count == 0 && !_disposed)
                    Monitor.Wait(_gate);
                if (_disposed)
                    return;
                wakeTick = Math.Min(NextTick(), ElapsedTicks() + Math.Max(1, shortestMs));
            }

            PreciseSleep.Until(_startTimestamp + wakeTick * PauseSchedule.TickLength);
            try
            {
                CompleteHere(Turn());
            }
            catch (OutOfMemoryException)
            {
                // A stream ran out of memory as it went on. The other delays are due again with the next
                // turn.
                Thread.Sleep(1);
            }
        }
    }

    /// <summary>The next tick with something in its slot, for this turn of the wheel or a later
    /// one.</summary>
    private long NextTick()
    {
        var tick = _lastTick + 1;
        while (_slots[tick & (SlotCount - 1)] is null)
            tick++;
        return tick;
    }

    internal void Cancel(StreamDelay delay)
    {
        lock (_gate)
        {
            delay.Cancelled = true;
            if (!delay.IsLinked)
                return;
            Unlink(delay);
        }

        delay.Next = null;
        Complete(delay);
    }

    private StreamDelay? Turn()
    {
        StreamDelay? expired = null;
        lock (_gate)
        {
            var now = ElapsedTicks();
            // After a pause longer than a turn, one look at each slot is enough.
            var first = Math.Max(_lastTick + 1, now - SlotCount + 1);
            for (var tick = first; tick <= now; tick++)
                expired = CollectExpired(tick, now, expired);
            _lastTick = Math.Max(_lastTick, now);
        }

        return expired;
    }

    private StreamDelay? CollectExpired(long tick, long now, StreamDelay? expired)
    {
        var delay = _slots[tick & (SlotCount - 1)];
        while (delay is not null)
        {
            var next = delay.Next;
            if (delay.DueTick <= now)
            {
                Unlink(delay);
                delay.Next = expired;
                expired = delay;
            }

            delay = next;
        }

        return expired;
    }

    /// <summary>On the wheel's thread: a few run here, because waking another thread costs more than they
    /// do.</summary>
    private static void CompleteHere(StreamDelay? delays)
    {
        var count = 0;
        for (var delay = delays; delay is not null && count <= DelaysPerWorkItem; delay = delay.Next)
            count++;
        if (count is > 0 and <= DelaysPerWorkItem)
            ((IThreadPoolWorkItem)delays!).Execute();
        else
            Complete(delays);
    }

    private static void Complete(StreamDelay? delays)
    {
        while (delays is not null)
        {
            // Unlinked before it is queued: from then on its streams may run and link their delays again.
            var last = delays;
            for (var i = 1; i < DelaysPerWorkItem && last.Next is not null; i++)
                last = last.Next;
            var rest = last.Next;
            last.Next = null;
            Run(delays);
            delays = rest;
        }
    }

    private static void Run(StreamDelay delays)
    {
        try
        {
            ThreadPool.UnsafeQueueUserWorkItem(delays, preferLocal: false);
        }
        catch (OutOfMemoryException)
        {
            // Not even queueing works: they run here.
            ((IThreadPoolWorkItem)delays).Execute();
        }
    }

    private void Link(StreamDelay delay)
    {
        ref var head = ref _slots[delay.DueTick & (SlotCount - 1)];
        delay.Previous = null;
        delay.Next = head;
        if (head is not null)
            head.Previous = delay;
        head = delay;
        delay.IsLinked = true;
        _count++;
    }

    private void Unlink(StreamDelay delay)
    {
        if (delay.Previous is null)
            _slots[delay.DueTick & (SlotCount - 1)] = delay.Next;
        else
            delay.Previous.Next = delay.Next;
        if (delay.Next is not null)
            delay.Next.Previous = delay.Previous;
        delay.Previous = null;
        delay.IsLinked = false;
        _count--;
    }

    private long ElapsedTicks() => Elapsed() / PauseSchedule.TickLength;

    private long Elapsed() => Stopwatch.GetTimestamp() - _startTimestamp;
}
