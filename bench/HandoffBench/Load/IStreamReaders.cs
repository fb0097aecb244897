using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>Who reads the answers.</summary>
internal enum ReaderKind
{
    /// <summary>One thread with one epoll for all connections: costs the machine least.</summary>
    Epoll,

    /// <summary>One thread for each open connection, which blocks in recv(2). An event then wakes a thread
    /// that sleeps, as it wakes a browser's process or a proxy's worker.</summary>
    Threads,
}

/// <summary>Reads every answer of a run.</summary>
internal interface IStreamReaders : IDisposable
{
    /// <summary>Reads that slot's stream from now on. For the thread that hands over.</summary>
    /// <exception cref="SystemCallException">The descriptor cannot be watched.</exception>
    void Add(int slot);

    /// <summary>Reads, or waits while others read: 50 ms at most. For the run's own thread.</summary>
    void Turn();

    /// <summary>Ends the streams that are still open as timed out. Call it when nothing is added any
    /// more.</summary>
    void EndTheRest();

    /// <param name="plan">Says which kind.</param>
    /// <param name="expected">What a good stream is.</param>
    /// <param name="slots">The clients. A slot that was added is the readers' until it has ended.</param>
    /// <param name="timings">Receives the streams' times.</param>
    /// <param name="onEnd">Gets each ended slot, once; from any thread.</param>
    static IStreamReaders For(LoadPlan plan, ExpectedStream expected, ClientSlot[] slots,
        StreamTimings timings, Action<int, StreamVerdict> onEnd) => plan.Readers == ReaderKind.Threads
            ? new ThreadReaders(expected, slots, timings, onEnd)
            : new EpollReader(plan.ReadAtEnd, expected, slots, timings, onEnd);
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
