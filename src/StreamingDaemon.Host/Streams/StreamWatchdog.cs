using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>
/// Enforces the deadlines of running streams, except those of their sockets: head wait, first token, idle
/// time, total time, and a backend that does not return after it was cancelled.
/// </summary>
/// <remarks>
/// One thread checks all streams and sleeps while there are none. It is not a thread of the pool, which may
/// be full of backends that block. A token only updates a number; no timer is moved.
/// </remarks>
internal sealed class StreamWatchdog : IDisposable
{
    /// <summary>Time between two sweeps: a deadline is noticed at most this late.</summary>
    private const int SweepMs = 50;

    /// <summary>Time between two looks at the thread pool: late work is noticed at most this late.</summary>
    private const int LookMs = 10;

    /// <summary>Looks that find no stream before the thread sleeps until there is one. A stream that ends at
    /// once is often followed by another, and waking a thread costs as much as sending an answer.</summary>
    private const int LooksAtNone = 5;

    /// <summary>How long a cancelled backend may take to return. Some awaits ignore their token, and some
    /// backends block.</summary>
    private const int CancelPatienceMs = 1_000;

    /// <summary>A sweep this late means that the process stood still. What the upstreams sent meanwhile
    /// waits in their sockets; <see cref="GraceMs"/> is the time to read it.</summary>
    private const int LateMs = 500;
    private const int GraceMs = 1_000;

    private readonly object _gate = new();
    private readonly List<UpstreamCall> _calls = [];
    private readonly ThreadPoolTuner _pool;
    private readonly CollectorOverhead _collector = new(OutOfMemory.End);
    private readonly ReloadableOptions _options;
    private readonly int _headWaitMs;
    private readonly UpstreamCall[] _batch = new UpstreamCall[256];
    private bool _waits;
    private int _looksAtNone;
    private bool _disposed;
    private int _cancelsAll = -1;
    private long _dueMs;
    private long _graceEndsMs;

    /// <param name="options">Holds the deadlines; a reload changes them for running streams too.</param>
    /// <param name="pool">Tunes the thread pool between the sweeps, on the same thread.</param>
    public StreamWatchdog(ReloadableOptions options, ThreadPoolTuner pool)
    {
        _options = options;
        _pool = pool;
        _headWaitMs = options.Current.Streaming.HeadWaitMs;
        // Else the first sweep would seem late, and the first streams get time that they do not need.
        _dueMs = Environment.TickCount64 + SweepMs;
        var thread = new Thread(Run, maxStackSize: 256 * 1024) { Name = "deadlines", IsBackground = true };
        thread.UnsafeStart();
    }

    /// <summary>Called for a stream if its cancelled backend did not return in time. Set it before the
    /// first stream is added.</summary>
    public Action<UpstreamCall>? Abandoned { get; set; }

    public void Add(UpstreamCall call)
    {
        int cancelled;
        lock (_gate)
        {
            cancelled = _cancelsAll;
            call.WatchIndex = _calls.Count;
            _calls.Add(call);
            if (_waits)
                Monitor.Pulse(_gate);
        }

        if (cancelled >= 0)
            call.Cancel((StreamOutcome)cancelled);
    }

    private void Run()
    {
        while (MayGoOn())
        {
        }
    }

    /// <returns>False once the watchdog is disposed.</returns>
    private bool MayGoOn()
    {
        try
        {
            if (!WaitForStreams())
                return false;
            Thread.Sleep(LookMs);
            _pool.Look();
            if (Environment.TickCount64 < _dueMs)
                return true;
            Sweep();
            _collector.Look();
            _dueMs = Environment.TickCount64 + SweepMs;
        }
        catch (OutOfMemoryException)
        {
            // The next sweep checks every deadline again, so none is missed.
            OutOfMemory.Survive();
        }

        return true;
    }

    /// <returns>False once the watchdog is disposed.</returns>
    private bool WaitForStreams()
    {
        lock (_gate)
        {
            _looksAtNone = _calls.Count > 0 ? 0 : _looksAtNone + 1;
            if (_looksAtNone <= LooksAtNone || _disposed)
                return !_disposed;
            _waits = true;
            // Not in a loop: the stream that woke this thread may have ended, and others follow.
            Monitor.Wait(_gate);
            _waits = false;
            _looksAtNone = 0;
            _dueMs = Environment.TickCount64 + SweepMs;
            return !_disposed;
        }
    }

    public void Remove(UpstreamCall call)
    {
        lock (_gate)
        {
            if (call.WatchIndex < 0)
                return;
            // The last one moves into the free place: the order does not matter.
            var last = _calls[^1];
            _calls[call.WatchIndex] = last;
            last.WatchIndex = call.WatchIndex;
            _calls.RemoveAt(_calls.Count - 1);
            call.WatchIndex = -1;
        }
    }

    /// <summary>Cancels all running streams, and every stream added later.</summary>
    public void CancelAll(StreamOutcome outcome)
    {
        UpstreamCall[] calls;
        lock (_gate)
        {
            _cancelsAll = (int)outcome;
            calls = [.. _calls];
        }

        foreach (var call in calls)
            call.Cancel(outcome);
    }

    /// <summary>Counts the streams that are queued, pending and streaming.</summary>
    public StreamCounts CountStates()
    {
        Span<int> counts = [0, 0, 0];
        lock (_gate)
        {
            foreach (var call in _calls)
                counts[(int)call.State]++;
        }

        return new StreamCounts(counts[0], counts[1], counts[2]);
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            Monitor.Pulse(_gate);
        }
    }

    private void Sweep()
    {
        var now = Environment.TickCount64;
        if (now - _dueMs > LateMs)
            _graceEndsMs = now + GraceMs;
        var timeouts = _options.Current.Timeouts;
        var end = int.MaxValue;
        while (TakeBatch(ref end) is > 0 and var count)
        {
            // Outside the lock: sending a head takes time.
            foreach (var call in _batch.AsSpan(0, count))
                Look(call, now, timeouts);
            _batch.AsSpan(0, count).Clear();
        }
    }

    /// <summary>Copies the calls to look at next. An array for all calls would grow with each burst. The
    /// sweep goes from the last call to the first: <see cref="Remove"/> moves the last call to an earlier
    /// place, so no call is skipped.</summary>
    /// <param name="end">The sweep is done with the calls from this index on.</param>
    /// <returns>How many calls were copied.</returns>
    private int TakeBatch(ref int end)
    {
        lock (_gate)
        {
            var last = Math.Min(end, _calls.Count);
            end = Math.Max(0, last - _batch.Length);
            _calls.CopyTo(end, _batch, 0, last - end);
            return last - end;
        }
    }

    private void Look(UpstreamCall call, long now, TimeoutOptions timeouts)
    {
        if (call.Cancelled.IsCancellationRequested)
        {
            if (call.CancelSeenMs == 0)
                call.CancelSeenMs = now;
            else if (now - call.CancelSeenMs >= CancelPatienceMs)
                Abandoned?.Invoke(call);
            return;
        }

        if (timeouts.StreamTimeoutMs > 0 && now - call.StartedMs >= timeouts.StreamTimeoutMs)
        {
            call.Cancel(StreamOutcome.StreamTimeout);
            return;
        }

        if (!call.HeadSent && now - call.StartedMs >= _headWaitMs)
            call.EnsureHead();
        var pendingSince = call.PendingSinceMs;
        if (pendingSince == 0 || call.IsWaitingForClient || call.IsWhole || now < _graceEndsMs)
            return;
        var limit = call.State == StreamState.Streaming
            ? timeouts.IdleTimeoutMs
            : timeouts.FirstTokenTimeoutMs;
        // Before the first token too: a reasoning model sends chunks without text, and is not idle.
        var since = Math.Max(call.LastActivityMs, pendingSince);
        if (now - since >= limit)
            call.Cancel(StreamOutcome.UpstreamTimeout);
    }
}
