using System.Diagnostics;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>Reads all answers on the run's own thread.</summary>
/// <param name="readAtEnd">Reads an answer after its end, not as it comes.</param>
/// <param name="expected">What a good stream is.</param>
/// <param name="slots">The clients.</param>
/// <param name="timings">Receives the streams' times.</param>
/// <param name="onEnd">Gets each ended slot, once.</param>
internal sealed class EpollReader(bool readAtEnd, ExpectedStream expected, ClientSlot[] slots,
    StreamTimings timings, Action<int, StreamVerdict> onEnd) : IStreamReaders
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

    private readonly Epoll _epoll = new();
    private readonly byte[] _buffer = new byte[64 * 1024];

    // epoll_ctl is the fence after which the slot is the reader's.
    public void Add(int slot) => _epoll.Add(slots[slot].Fd, slot, readAtEnd ? Watch.End : Watch.NewData);

    public void Turn()
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

    public void EndTheRest()
    {
        for (var i = 0; i < slots.Length; i++)
        {
            if (slots[i].Fd > 0)
                End(i, StreamVerdict.TimedOut);
        }
    }

    public void Dispose() => _epoll.Dispose();

    private unsafe ReadState Read(int index)
    {
        ref var slot = ref slots[index];
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

        var verdict = slot.Checker.End(expected);
        if (count > 0)
        {
            var before = slot.Checker.MarksReached;
            verdict = slot.Checker.Accept(_buffer.AsSpan(0, (int)count), expected);
            timings.OnProgress(slot.DueAt, ref slot.LastEventAt, before, slot.Checker.MarksReached,
                expected.Events, now);
            if (verdict == StreamVerdict.Open)
                return count == _buffer.Length ? ReadState.More : ReadState.Empty;
        }
        else if (verdict == StreamVerdict.Good)
        {
            timings.OnGood(slot.DueAt, now);
        }

        End(index, verdict);
        return ReadState.Over;
    }

    private void End(int index, StreamVerdict verdict)
    {
        ref var slot = ref slots[index];
        _epoll.Remove(slot.Fd);
        _ = Native.Close(slot.Fd);
        slot.Fd = -1;
        onEnd(index, verdict);
    }
}
