using System.Diagnostics;
using System.Threading.Tasks.Sources;

namespace StreamingDaemon.MockLlm;

/// <summary>Waits on a <see cref="PaceWheel"/>.</summary>
internal interface IPaced
{
    /// <summary>When its delay ends, in the wheel's milliseconds.</summary>
    long DueAt { get; }

    /// <summary>Its delay has ended; called on the wheel's thread.</summary>
    void OnDue();
}

/// <summary>
/// One timer for every stream's delays: a thousand buckets of a millisecond, turned by one thread. A delay
/// counts from the end of the last one, not from when its stream asked for it: a busy moment does not stretch
/// a stream.
/// </summary>
internal sealed class PaceWheel
{
    private const int Buckets = 1024;
    private readonly Lock _gate = new();
    private readonly List<IPaced>[] _buckets =
        [.. Enumerable.Range(0, Buckets).Select(_ => new List<IPaced>())];
    private readonly List<IPaced> _due = [];
    private readonly long _start = Stopwatch.GetTimestamp();
    private long _turned;

    public PaceWheel() => new Thread(Run) { IsBackground = true, Name = "pace" }.Start();

    /// <summary>Whole milliseconds since the wheel's start.</summary>
    public long Now => (long)Stopwatch.GetElapsedTime(_start).TotalMilliseconds;

    /// <summary>Called on the wheel's thread after everything due has been told.</summary>
    public Action? Turned { get; set; }

    /// <returns>False if the moment has already passed.</returns>
    internal bool TryAdd(IPaced pace, long due)
    {
        lock (_gate)
        {
            if (due <= _turned)
                return false;
            _buckets[due % Buckets].Add(pace);
            return true;
        }
    }

    private void Run()
    {
        while (true)
        {
            Thread.Sleep(1);
            var now = Now;
            lock (_gate)
            {
                for (var tick = Math.Max(_turned + 1, now - Buckets + 1); tick <= now; tick++)
                    Collect(_buckets[tick % Buckets], now);
                _turned = now;
            }

            foreach (var pace in _due)
                pace.OnDue();
            _due.Clear();
            Turned?.Invoke();
        }
    }

    private void Collect(List<IPaced> bucket, long now)
    {
        for (var i = bucket.Count - 1; i >= 0; i--)
        {
            if (bucket[i].DueAt > now)
                continue;
            _due.Add(bucket[i]);
            bucket[i] = bucket[^1];
            bucket.RemoveAt(bucket.Count - 1);
        }
    }
}

/// <summary>One stream's delays, one after the other; none allocates.</summary>
internal sealed class StreamPace(PaceWheel wheel) : IPaced, IValueTaskSource
{
    private ManualResetValueTaskSourceCore<bool> _source = new() { RunContinuationsAsynchronously = true };

    /// <inheritdoc/>
    public long DueAt { get; private set; } = wheel.Now;

    /// <summary>Waits until that long after the end of the last delay.</summary>
    public ValueTask WaitAsync(int milliseconds)
    {
        if (milliseconds == 0)
            return ValueTask.CompletedTask;
        DueAt += milliseconds;
        _source.Reset();
        return wheel.TryAdd(this, DueAt) ? new ValueTask(this, _source.Version) : ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    public void OnDue() => _source.SetResult(true);

    void IValueTaskSource.GetResult(short token) => _source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _source.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token,
        ValueTaskSourceOnCompletedFlags flags) => _source.OnCompleted(continuation, state, token, flags);
}
