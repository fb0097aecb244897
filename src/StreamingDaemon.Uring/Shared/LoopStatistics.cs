namespace StreamingDaemon.Uring.Shared;

/// <summary>Counters of one loop. Only the loop writes them, unless a member says otherwise. Read from any
/// thread.</summary>
internal sealed class LoopStatistics
{
    private long _accepted;
    private long _rejected;
    private long _started;
    private long _bytesSent;
    private long _sends;
    private long _turns;
    private long _enterCalls;

    public long Accepted => Volatile.Read(ref _accepted);

    public long Rejected => Volatile.Read(ref _rejected);

    public long Started => Volatile.Read(ref _started);

    public long BytesSent => Volatile.Read(ref _bytesSent);

    public long Sends => Volatile.Read(ref _sends);

    public long Turns => Volatile.Read(ref _turns);

    public long EnterCalls => Volatile.Read(ref _enterCalls);

    public void OnAccepted() => Volatile.Write(ref _accepted, _accepted + 1);

    /// <summary>From any thread.</summary>
    public void OnRejected() => Interlocked.Increment(ref _rejected);

    /// <summary>From any thread.</summary>
    public void OnClientStarted() => Interlocked.Increment(ref _started);

    public void OnBytesSent(int bytes) => Volatile.Write(ref _bytesSent, _bytesSent + bytes);

    public void OnSendSubmitted() => Volatile.Write(ref _sends, _sends + 1);

    public void OnTurn(long enterCalls)
    {
        Volatile.Write(ref _enterCalls, enterCalls);
        Volatile.Write(ref _turns, _turns + 1);
    }
}
