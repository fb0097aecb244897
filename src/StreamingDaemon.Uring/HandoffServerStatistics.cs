using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring;

/// <summary>
/// Counters of a <see cref="HandoffServer"/>, of all its loops together: read from any thread at any time.
/// Each is exact by itself; two of them may be a moment apart.
/// </summary>
public sealed class HandoffServerStatistics
{
    private readonly LoopStatistics[] _loops;
    private readonly ConnectionLimiter _places;

    internal HandoffServerStatistics(LoopStatistics[] loops, ConnectionLimiter places)
    {
        _loops = loops;
        _places = places;
    }

    /// <summary>Connections accepted on the handoff socket.</summary>
    public long Accepted => Sum(static l => l.Accepted);

    /// <summary>Handoffs that brought no client to answer.</summary>
    public long Rejected => Sum(static l => l.Rejected);

    /// <summary>Clients received, those over capacity included.</summary>
    public long Started => Sum(static l => l.Started);

    /// <summary>Bytes that the kernel took for clients.</summary>
    public long BytesSent => Sum(static l => l.BytesSent);

    /// <summary>Sends submitted.</summary>
    public long Sends => Sum(static l => l.Sends);

    /// <summary>Turns of the loops.</summary>
    public long Turns => Sum(static l => l.Turns);

    /// <summary>Calls of io_uring_enter.</summary>
    public long EnterCalls => Sum(static l => l.EnterCalls);

    /// <summary>Threads that hang in closing what came from outside.</summary>
    public HungThreads HungReleases => HungThreads?.Invoke().Releases ?? default;

    /// <summary>Threads that hang in the check of a new client's socket.</summary>
    public HungThreads HungChecks => HungThreads?.Invoke().Checks ?? default;

    /// <summary>Threads of loops that hang in a call on a client's socket.</summary>
    public HungThreads HungCalls => HungThreads?.Invoke().Calls ?? default;

    /// <summary>Set by the server's start.</summary>
    internal Func<(HungThreads Releases, HungThreads Checks, HungThreads Calls)>? HungThreads { get; set; }

    /// <summary>Clients connected now, without those that are only told that the limit is reached.</summary>
    public int ActiveConnections => _places.Admitted;

    /// <summary>Highest <see cref="ActiveConnections"/> since the start.</summary>
    public int PeakConnections => _places.Peak;

    /// <summary>The limit of connections in force; 0 before the start.</summary>
    public int MaxConnections => _places.Most;

    /// <summary>Highest <see cref="ActiveConnections"/> since the last call. A client that comes in the same
    /// moment may be counted twice.</summary>
    public int TakeRecentPeak() => _places.TakeRecentPeak();

    private long Sum(Func<LoopStatistics, long> counter)
    {
        var sum = 0L;
        foreach (var loop in _loops)
            sum += counter(loop);
        return sum;
    }
}
