using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Shared;

/// <summary>The handler's calls of one loop: begun on their own thread, and counted. Also tells the handler
/// of handoffs that brought no client. From any thread.</summary>
internal sealed class HandlerCalls
{
    private readonly LoopStatistics _statistics;
    private int _running;

    /// <exception cref="HandoffServerException">The system refuses another thread.</exception>
    public HandlerCalls(IHandoffHandler handler, LoopStatistics statistics, HandoffServerOptions options,
        ServerThreads threads)
    {
        Handler = handler;
        _statistics = statistics;
        Thread = new HandlerThread(
            options, threads.Spares, new CheckCosts(threads.ExitReleases), threads.Monitor);
    }

    public IHandoffHandler Handler { get; }

    /// <summary>Checks each new client's socket, and calls the handler.</summary>
    public HandlerThread Thread { get; }

    /// <summary>Calls that were made and have not returned.</summary>
    public int Running => Volatile.Read(ref _running);

    /// <summary>Has a new client's socket checked, and the handler called.</summary>
    public void Begin(ClientStream stream)
    {
        Interlocked.Increment(ref _running);
        Thread.Post(stream);
    }

    public void OnReturned() => Interlocked.Decrement(ref _running);

    public void ReportRejection(HandoffRejection reason, HandoffPeer peer)
    {
        _statistics.OnRejected();
        Interlocked.Increment(ref _running);
        // Not on this thread: logging may block.
        ThreadPool.UnsafeQueueUserWorkItem(static state =>
        {
            state.Calls.Handler.OnRejected(state.Reason, state.Peer);
            state.Calls.OnReturned();
        }, (Calls: this, Reason: reason, Peer: peer), preferLocal: false);
    }
}
