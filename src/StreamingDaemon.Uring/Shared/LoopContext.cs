using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;

namespace StreamingDaemon.Uring.Shared;

/// <summary>What the parts of one loop share. Loop-owned, unless it says otherwise.</summary>
internal sealed class LoopContext : IDisposable
{
    private readonly ServerThreads _threads;
    private volatile HandoffServerOptions _options;
    private int _busy;

    /// <summary>Call it on the loop's thread: the ring belongs to the thread that makes it.</summary>
    /// <param name="options">What the server was told.</param>
    /// <param name="handler">Called for each client.</param>
    /// <param name="statistics">Counters that only this loop writes.</param>
    /// <param name="places">The places of all loops.</param>
    /// <param name="threads">The threads that all loops share.</param>
    /// <exception cref="HandoffServerException">A ring, a descriptor or a thread is refused.</exception>
    public LoopContext(HandoffServerOptions options, IHandoffHandler handler, LoopStatistics statistics,
        ConnectionLimiter places, ServerThreads threads)
    {
        _options = options;
        _threads = threads;
        Statistics = statistics;
        Places = places;
        NowMs = ClockMs();
        Timers = new TimerWheel(NowMs);
        Buffers = new NativeBufferPool(options.Memory);
        Releases = new ReleaseBatch(threads, options.Releasing);
        Mailbox = new LoopMailbox();
        try
        {
            Operations = new Operations(CreateRing());
            Handlers = new HandlerCalls(handler, statistics, options, threads);
        }
        catch
        {
            Dispose();
            throw;
        }

        threads.Monitor.Add(Handlers.Thread);
    }

    /// <summary>Other threads may replace it: copies of its values are refreshed at each use. From any
    /// thread.</summary>
    public HandoffServerOptions Options
    {
        get => _options;
        set => _options = value;
    }

    /// <summary>Milliseconds of the loop's clock, when last read.</summary>
    public long NowMs { get; private set; }

    public Operations Operations { get; }

    public TimerWheel Timers { get; }

    /// <summary>From any thread.</summary>
    public LoopMailbox Mailbox { get; }

    /// <summary>Where producers put what they flush. From any thread.</summary>
    public NativeBufferPool Buffers { get; }

    /// <summary>From any thread.</summary>
    public HandlerCalls Handlers { get; }

    public ReleaseBatch Releases { get; }

    public LoopStatistics Statistics { get; }

    /// <summary>Of all loops. From any thread.</summary>
    public ConnectionLimiter Places { get; }

    /// <summary>Is there a client or a handoff? Then calls may hang. From any thread.</summary>
    public bool IsBusy => Volatile.Read(ref _busy) != 0;

    // Not Environment.TickCount64, which moves in steps of 4 ms (CLOCK_MONOTONIC_COARSE).
    public static long ClockMs() => Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1000);

    public void ReadClock() => NowMs = ClockMs();

    /// <summary>Sets a timer to fire this many milliseconds from now.</summary>
    public void SetTimer(LoopTimer timer, long afterMs) => Timers.Set(timer, NowMs + afterMs);

    /// <summary>A ring of the calling thread.</summary>
    /// <exception cref="HandoffServerException">The kernel refuses it.</exception>
    public IoUring CreateRing() =>
        IoUring.Create((uint)Options.RingEntries, Options.SqPoll, Options.RingFault);

    public void MarkBusy()
    {
        if (_busy != 0)
            return;
        Volatile.Write(ref _busy, 1);
        _threads.Monitor.Wake();
    }

    /// <summary>Of all loops.</summary>
    public HandoffDataThread Data => _threads.Data;

    /// <summary>Gives slow sockets to the kernel when the process ends. From any thread.</summary>
    public ExitReleases ExitReleases => _threads.ExitReleases;

    /// <summary>Makes the calls on the socket's path.</summary>
    public PathThread Paths => _threads.Paths;

    /// <summary>Has the handoff data of a stream read, and its handler called. From any thread.</summary>
    public void ReadData(ClientStream stream)
    {
        _threads.Data.Post(stream);
        _threads.Monitor.Wake();
    }

    /// <summary>Has the stream's producer told that it has ended. From any thread.</summary>
    public void AddEnd(ClientStream stream)
    {
        _threads.Ends.Add(stream);
        _threads.Monitor.Wake();
    }

    /// <summary>Closes what may wait, on another thread. From any thread.</summary>
    public void CloseElsewhere(int fd)
    {
        _threads.OddReleaser.Post(new Release(fd, ReleaseKind.Odd));
        _threads.Monitor.Wake();
    }

    public void MarkIdle() => Volatile.Write(ref _busy, 0);

    /// <summary>Closes the ring and the eventfd. The buffers stay: the kernel may still use them for a ring
    /// that is being torn down.</summary>
    public void Dispose()
    {
        // The ring first: once it is closed, the kernel holds no pointer into the other parts' memory.
        Operations?.Dispose();
        Mailbox.Dispose();
    }
}
