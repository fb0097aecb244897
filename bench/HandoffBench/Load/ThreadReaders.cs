using System.Collections.Concurrent;
using System.Diagnostics;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>
/// One thread for each open connection. A thread whose stream has ended reads the next one, so there are as
/// many as streams were open at once.
/// </summary>
/// <param name="expected">What a good stream is.</param>
/// <param name="slots">The clients.</param>
/// <param name="timings">Receives the streams' times.</param>
/// <param name="onEnd">Gets each ended slot, once; from any thread.</param>
internal sealed class ThreadReaders(ExpectedStream expected, ClientSlot[] slots, StreamTimings timings,
    Action<int, StreamVerdict> onEnd) : IStreamReaders
{
    private const int StackBytes = 128 * 1024;
    private const int BufferBytes = 4 * 1024;
    private static readonly TimeSpan s_turn = TimeSpan.FromMilliseconds(50);

    private readonly object _gate = new();
    private readonly int _marks = expected.Marks.Length;
    private readonly List<Reader> _readers = [];
    private readonly Stack<Reader> _idle = new();
    private bool _timedOut;

    public void Add(int slot)
    {
        Native.Check(Native.MakeBlocking(slots[slot].Fd), "fcntl");
        Reader? reader;
        lock (_gate)
        {
            if (!_idle.TryPop(out reader))
            {
                reader = new Reader(this);
                _readers.Add(reader);
            }
        }

        reader.Give(slot);
    }

    public void Turn() => Thread.Sleep(s_turn);

    public void Dispose() => EndTheRest();

    public void EndTheRest()
    {
        lock (_gate)
        {
            _timedOut = true;
            // Wakes whoever waits for the rest. Under the gate, so that no descriptor is another's by now.
            foreach (var slot in slots)
            {
                if (slot.Fd > 0)
                    _ = Native.ShutDown(slot.Fd, Native.ShutBoth);
            }
        }

        foreach (var reader in _readers)
            reader.Dispose();
    }

    private unsafe void Read(int index, long[] reached, byte[] buffer)
    {
        ref var slot = ref slots[index];
        var verdict = StreamVerdict.Open;
        var now = 0L;
        while (verdict == StreamVerdict.Open)
        {
            nint count;
            fixed (byte* bytes = buffer)
                count = Native.Receive(slot.Fd, bytes, (nuint)buffer.Length, 0);
            now = Stopwatch.GetTimestamp();
            if (count > 0)
            {
                var before = slot.Checker.MarksReached;
                verdict = slot.Checker.Accept(buffer.AsSpan(0, (int)count), expected);
                reached.AsSpan(before, slot.Checker.MarksReached - before).Fill(now);
            }
            else if (count == 0)
            {
                verdict = slot.Checker.End(expected);
            }
            else if (Native.Errno != Native.ErrorInterrupted)
            {
                verdict = StreamVerdict.Reset;
            }
        }

        End(index, verdict, reached, now);
    }

    private void End(int index, StreamVerdict verdict, long[] reached, long now)
    {
        lock (_gate)
        {
            ref var slot = ref slots[index];
            for (var mark = 0; mark < slot.Checker.MarksReached; mark++)
            {
                timings.OnProgress(slot.DueAt, ref slot.LastEventAt, mark, mark + 1, expected.Events,
                    reached[mark]);
            }

            if (_timedOut)
                verdict = StreamVerdict.TimedOut;
            if (verdict == StreamVerdict.Good)
                timings.OnGood(slot.DueAt, now);
            _ = Native.Close(slot.Fd);
            slot.Fd = -1;
            onEnd(index, verdict);
        }
    }

    /// <summary>A thread that reads one stream after the other.</summary>
    private sealed class Reader : IDisposable
    {
        private const int None = -1;
        private readonly ThreadReaders _owner;
        private readonly Thread _thread;
        private readonly SemaphoreSlim _given = new(0);
        private readonly ConcurrentQueue<int> _slots = new();

        /// <exception cref="OutOfMemoryException">The system allows no more threads.</exception>
        public Reader(ThreadReaders owner)
        {
            _owner = owner;
            _thread = new Thread(Run, StackBytes) { Name = "reader", IsBackground = true };
            _thread.Start();
        }

        public void Give(int slot)
        {
            _slots.Enqueue(slot);
            _given.Release();
        }

        /// <summary>Waits until the thread has read what it was given.</summary>
        public void Dispose()
        {
            if (!_thread.IsAlive)
                return;
            Give(None);
            _thread.Join();
            _given.Dispose();
        }

        private void Run()
        {
            Native.WantToRunSoon();
            var reached = new long[_owner._marks];
            var buffer = new byte[BufferBytes];
            while (true)
            {
                _given.Wait();
                if (!_slots.TryDequeue(out var slot) || slot == None)
                    return;
                _owner.Read(slot, reached, buffer);
                lock (_owner._gate)
                    _owner._idle.Push(this);
            }
        }
    }
}
