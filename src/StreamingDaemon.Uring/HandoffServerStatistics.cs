namespace StreamingDaemon.Uring;

/// <summary>
/// Counters of a <see cref="HandoffServer"/>: written by its loop only, read from any thread at any time.
/// Each is exact by itself; two of them may be a moment apart.
/// </summary>
public sealed class HandoffServerStatistics
{
    private long _accepted;
    private long _rejected;
    private long _started;
    private long _bytesSent;
    private long _sends;
    private long _turns;
    private long _enterCalls;
    private int _active;
    private int _peak;
    private int _recentPeak;
    private int _max;

    /// <summary>Connections accepted on the handoff socket.</summary>
    public long Accepted => Volatile.Read(ref _accepted);

    /// <summary>Handoffs that brought no client to answer.</summary>
    public long Rejected => Volatile.Read(ref _rejected);

    /// <summary>Clients received, those over capacity included.</summary>
    public long Started => Volatile.Read(ref _started);

    /// <summary>Bytes that the kernel took for clients.</summary>
    public long BytesSent => Volatile.Read(ref _bytesSent);

    /// <summary>Sends submitted.</summary>
    public long Sends => Volatile.Read(ref _sends);

    /// <summary>Turns of the loop.</summary>
    public long Turns => Volatile.Read(ref _turns);

    /// <summary>Calls of io_uring_enter.</summary>
    public long EnterCalls => Volatile.Read(ref _enterCalls);

    /// <summary>Clients connected now, without those that are only told that the limit is reached.</summary>
    public int ActiveConnections => Volatile.Read(ref _active);

    /// <summary>The most that <see cref="ActiveConnections"/> ever was.</summary>
    public int PeakConnections => Volatile.Read(ref _peak);

    /// <summary>The limit of connections in force; 0 before the start.</summary>
    public int MaxConnections => Volatile.Read(ref _max);

    /// <summary>The most that <see cref="ActiveConnections"/> was since the last call. A client that comes
    /// in the same moment may be counted twice.</summary>
    public int TakeRecentPeak() => Interlocked.Exchange(ref _recentPeak, ActiveConnections);

    internal void OnLimit(int maxConnections) => Volatile.Write(ref _max, maxConnections);

    internal void OnAccepted() => Volatile.Write(ref _accepted, _accepted + 1);

    internal void OnRejected() => Volatile.Write(ref _rejected, _rejected + 1);

    internal void OnBytesSent(int bytes) => Volatile.Write(ref _bytesSent, _bytesSent + bytes);

    internal void OnSendSubmitted() => Volatile.Write(ref _sends, _sends + 1);

    internal void OnClientStarted(int active)
    {
        Volatile.Write(ref _started, _started + 1);
        Volatile.Write(ref _active, active);
        if (active > _peak)
            Volatile.Write(ref _peak, active);
        if (active > Volatile.Read(ref _recentPeak))
            Volatile.Write(ref _recentPeak, active);
    }

    internal void OnClientEnded(int active) => Volatile.Write(ref _active, active);

    internal void OnTurn(long enterCalls)
    {
        Volatile.Write(ref _enterCalls, enterCalls);
        Volatile.Write(ref _turns, _turns + 1);
    }
}
