using System.Diagnostics;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>
/// One run: one thread hands clients over when they are due, and the readers read every answer. They share
/// the slots; a slot belongs to the first thread until it is added to the readers.
/// </summary>
internal sealed class LoadRun : IDisposable
{
    private readonly object _gate = new();
    private readonly LoadPlan _plan;
    private readonly IStreamReaders _readers;
    private readonly HandoffThread _handoffs;
    private readonly LoadResult _result;
    private int _ended;
    private long _lastEndAt;

    /// <exception cref="SystemCallException">No socket is available.</exception>
    public LoadRun(LoadPlan plan, ExpectedStream expected, string socketPath)
    {
        _plan = plan;
        var slots = new ClientSlot[plan.Slots];
        _result = new LoadResult(new StreamTimings(plan.DelayMs));
        _readers = IStreamReaders.For(plan, expected, slots, _result.Timings, OnEnd);
        _handoffs = new HandoffThread(plan, socketPath, slots, _readers, _result.Timings);
    }

    /// <summary>Streams begun and ended so far; from any thread.</summary>
    public (int Begun, int Ended) Progress => (_handoffs.Begun, Volatile.Read(ref _ended));

    /// <summary>Runs until the last stream ends or the patience is over.</summary>
    /// <exception cref="InvalidOperationException">The generator itself failed.</exception>
    public LoadResult Run()
    {
        Native.WantToRunSoon();
        _handoffs.ConnectFirst();
        var start = Stopwatch.GetTimestamp();
        _handoffs.Start(start);
        var deadline = long.MaxValue;
        var patience = (long)(_plan.Patience.TotalSeconds * Stopwatch.Frequency);
        while (!IsOver())
        {
            if (_handoffs.HasEnded && deadline == long.MaxValue)
                deadline = Stopwatch.GetTimestamp() + patience;
            if (Stopwatch.GetTimestamp() > deadline)
                break;
            _readers.Turn();
        }

        var end = IsOver() && _ended > 0 ? _lastEndAt : Stopwatch.GetTimestamp();
        _result.AllInSeconds = Stopwatch.GetElapsedTime(start, end).TotalSeconds;
        _handoffs.Stop();
        _handoffs.Join();
        _readers.EndTheRest();
        foreach (var (verdict, count) in _handoffs.Failures)
            Count(verdict, count);
        _result.HandoffError = _handoffs.FirstError;
        return _result;
    }

    public void Dispose()
    {
        _readers.Dispose();
        _handoffs.Dispose();
    }

    private bool IsOver() => _handoffs.HasEnded && _handoffs.Begun == Volatile.Read(ref _ended);

    private void OnEnd(int slot, StreamVerdict verdict)
    {
        lock (_gate)
        {
            _result.PeakOpen = Math.Max(_result.PeakOpen, _handoffs.Begun - _ended);
            Count(verdict, 1);
            _lastEndAt = Stopwatch.GetTimestamp();
            Volatile.Write(ref _ended, _ended + 1);
        }

        _handoffs.Release(slot);
    }

    private void Count(StreamVerdict verdict, int count) =>
        _result.Verdicts[verdict] = _result.Verdicts.GetValueOrDefault(verdict) + count;
}
