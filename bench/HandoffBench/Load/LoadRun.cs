using System.Diagnostics;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>
/// One run: one thread hands clients over when they are due, and this one reads every answer. They share the
/// slots; a slot belongs to the first thread until it is in the epoll, then to the reader.
/// </summary>
internal sealed class LoadRun : IDisposable
{
    private const int PollMs = 50;

    /// <summary>What is left to read of a stream after a read.</summary>
    private enum ReadState
    {
        /// <summary>Nothing now, unless its end is known to have come.</summary>
        Empty,
        More,

        /// <summary>It has ended: its slot may be another stream's by now.</summary>
        Over,
    }

    private readonly LoadPlan _plan;
    private readonly ExpectedStream _expected;
    private readonly Epoll _epoll = new();
    private readonly HandoffThread _handoffs;
    private readonly ClientSlot[] _slots;
    private readonly byte[] _buffer = new byte[64 * 1024];
    private readonly LoadResult _result;
    private int _ended;

    /// <exception cref="SystemCallException">No socket is available.</exception>
    public LoadRun(LoadPlan plan, ExpectedStream expected, string socketPath)
    {
        _plan = plan;
        _expected = expected;
        _slots = new ClientSlot[plan.Slots];
        _result = new LoadResult(new StreamTimings(plan.DelayMs));
        _handoffs = new HandoffThread(plan, socketPath, _slots, _epoll, _result.Timings);
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
            ReadWhatIsThere();
            _result.PeakOpen = Math.Max(_result.PeakOpen, _handoffs.Begun - _ended);
        }

        _result.AllInSeconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        CloseTheRest();
        _handoffs.Join();
        foreach (var (verdict, count) in _handoffs.Failures)
            Count(verdict, count);
        _result.HandoffError = _handoffs.FirstError;
        return _result;
    }

    public void Dispose()
    {
        _handoffs.Dispose();
        _epoll.Dispose();
    }

    private bool IsOver() => _handoffs.HasEnded && _handoffs.Begun == _ended;

    private void ReadWhatIsThere()
    {
        var count = _epoll.Wait(PollMs);
        for (var i = 0; i < count; i++)
        {
            var slot = _epoll.TagAt(i);
            // An ended stream gets no further event. The others do, if less came than there was room for
            // (epoll(7), Q9).
            ReadState state;
            do
            {
                state = Read(slot);
            }
            while (state == ReadState.More || (state == ReadState.Empty && _epoll.HasEndedAt(i)));
        }
    }

    private unsafe ReadState Read(int index)
    {
        ref var slot = ref _slots[index];
        nint count;
        fixed (byte* buffer = _buffer)
            count = Native.Receive(slot.Fd, buffer, (nuint)_buffer.Length, Native.DontWait);
        if (count < 0 && Native.Errno is Native.ErrorAgain or Native.ErrorInterrupted)
            return Native.Errno == Native.ErrorInterrupted ? ReadState.More : ReadState.Empty;
        var now = Stopwatch.GetTimestamp();
        if (count < 0)
        {
            End(index, StreamVerdict.Reset);
            return ReadState.Over;
        }

        var verdict = slot.Checker.End(_expected);
        if (count > 0)
        {
            var before = slot.Checker.MarksReached;
            verdict = slot.Checker.Accept(_buffer.AsSpan(0, (int)count), _expected);
            _result.Timings.OnProgress(slot.DueAt, ref slot.LastEventAt, before, slot.Checker.MarksReached,
                _expected.Events, now);
            if (verdict == StreamVerdict.Open)
                return count == _buffer.Length ? ReadState.More : ReadState.Empty;
        }
        else if (verdict == StreamVerdict.Good)
        {
            _result.Timings.OnGood(slot.DueAt, now);
        }

        End(index, verdict);
        return ReadState.Over;
    }

    private void End(int index, StreamVerdict verdict)
    {
        Count(verdict, 1);
        ref var slot = ref _slots[index];
        _epoll.Remove(slot.Fd);
        _ = Native.Close(slot.Fd);
        slot.Fd = -1;
        Volatile.Write(ref _ended, _ended + 1);
        _handoffs.Release(index);
    }

    private void CloseTheRest()
    {
        _handoffs.Stop();
        _handoffs.Join();
        for (var i = 0; i < _slots.Length; i++)
        {
            if (_slots[i].Fd > 0)
                End(i, StreamVerdict.TimedOut);
        }
    }

    private void Count(StreamVerdict verdict, int count) =>
        _result.Verdicts[verdict] = _result.Verdicts.GetValueOrDefault(verdict) + count;
}

/// <summary>One client: its descriptor and how far its answer has come.</summary>
internal struct ClientSlot
{
    /// <summary>The browser's end; 0 before the first stream, -1 between two.</summary>
    public int Fd;
    public long DueAt;
    public long LastEventAt;
    public StreamChecker Checker;
}
