using System.Diagnostics;

namespace StreamingDaemon.Backends.Mock;

/// <summary>
/// A hashed timer wheel: one system timer for any number of delays, O(1) to add and to remove.
/// </summary>
/// <remarks>
/// Ten thousand mock streams would otherwise be ten thousand entries in the runtime's timer queues, each
/// added and removed every few milliseconds. The wheel turns only while something waits. A delay never ends
/// early: the due tick is rounded up, and only whole elapsed ticks count. Everything here is guarded by
/// <see cref="_gate"/>; what expired is completed outside it, on the thread pool.
/// </remarks>
internal sealed class DelayWheel : IDisposable
{
    /// <summary>A power of two; with ticks of 1 ms one turn is about a second, so that the usual delay of
    /// 50 ms is looked at once, and one of a minute sixty times.</summary>
    private const int SlotCount = 1024;

    private readonly Lock _gate = new();
    private readonly StreamDelay?[] _slots = new StreamDelay?[SlotCount];
    private readonly Timer _timer;
    private readonly long _startTimestamp = Stopwatch.GetTimestamp();
    private long _lastTick;
    private int _count;
    private bool _disposed;

    public DelayWheel()
    {
        // The first stream's execution context must not become every later stream's.
        using (ExecutionContext.SuppressFlow())
            _timer = new Timer(static state => ((DelayWheel)state!).Turn(), this, -1, -1);
    }

    /// <summary>Delays that wait now; for tests.</summary>
    internal int PendingCount
    {
        get
        {
            lock (_gate) return _count;
        }
    }

    /// <summary>Makes the one delay that a stream uses again and again.</summary>
    /// <param name="cancellationToken">Ends a delay in progress, and refuses those after it.</param>
    public StreamDelay CreateDelay(CancellationToken cancellationToken) => new(this, cancellationToken);

    /// <summary>Ends what still waits, each as cancelled.</summary>
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

        _timer.Dispose();
        Complete(orphans);
    }

    /// <returns>False where the delay was cancelled before; it is then not on the wheel.</returns>
    internal bool TryAdd(StreamDelay delay, int milliseconds)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (delay.Cancelled) return false;
            Debug.Assert(!delay.IsLinked, "A stream waits for one delay at a time.");
            // The wheel stood still while it was empty: skip the turns that nobody waited for.
            if (_count == 0) _lastTick = ElapsedTicks(out _);
            delay.DueTick = DueTick(milliseconds);
            Link(delay);
            if (_count == 1) _timer.Change(1, Timeout.Infinite);
            return true;
        }
    }

    internal void Cancel(StreamDelay delay)
    {
        lock (_gate)
        {
            delay.Cancelled = true;
            if (!delay.IsLinked) return;
            Unlink(delay);
        }

        delay.Next = null;
        Complete(delay);
    }

    private void Turn()
    {
        StreamDelay? expired = null;
        lock (_gate)
        {
            if (_disposed) return;
            var now = ElapsedTicks(out _);
            // After a pause longer than a turn each slot needs one look only.
            var first = Math.Max(_lastTick + 1, now - SlotCount + 1);
            for (var tick = first; tick <= now; tick++) expired = CollectExpired(tick, now, expired);
            _lastTick = Math.Max(_lastTick, now);
            if (_count > 0) _timer.Change(1, Timeout.Infinite);
        }

        Complete(expired);
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

    private static void Complete(StreamDelay? delays)
    {
        while (delays is not null)
        {
            // Read first: the moment it is queued, its stream may run and link it again.
            var next = delays.Next;
            delays.Next = null;
            ThreadPool.UnsafeQueueUserWorkItem(delays, preferLocal: false);
            delays = next;
        }
    }

    private void Link(StreamDelay delay)
    {
        ref var head = ref _slots[delay.DueTick & (SlotCount - 1)];
        delay.Previous = null;
        delay.Next = head;
        if (head is not null) head.Previous = delay;
        head = delay;
        delay.IsLinked = true;
        _count++;
    }

    private void Unlink(StreamDelay delay)
    {
        if (delay.Previous is null) _slots[delay.DueTick & (SlotCount - 1)] = delay.Next;
        else delay.Previous.Next = delay.Next;
        if (delay.Next is not null) delay.Next.Previous = delay.Previous;
        delay.Previous = null;
        delay.IsLinked = false;
        _count--;
    }

    private long DueTick(int milliseconds)
    {
        var whole = ElapsedTicks(out var isWhole);
        return whole + milliseconds + (isWhole ? 0 : 1);
    }

    private long ElapsedTicks(out bool isWhole)
    {
        var (milliseconds, rest) = Math.DivRem(
            Stopwatch.GetTimestamp() - _startTimestamp, Stopwatch.Frequency / 1000);
        isWhole = rest == 0;
        return milliseconds;
    }
}
