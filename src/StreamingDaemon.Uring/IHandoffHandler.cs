namespace StreamingDaemon.Uring;

/// <summary>Answers handoffs. Never called on the loop's thread.</summary>
public interface IHandoffHandler
{
    /// <summary>
    /// Answers one client. Called by one thread for all clients of a loop, in the order of their handoffs:
    /// what may take long must be awaited, because the next client waits for the return. Where there are
    /// several loops (<see cref="HandoffServerOptions.Rings"/>), their threads call at the same time. Ends
    /// the client with
    /// <see cref="ClientStream.Complete"/> or <see cref="ClientStream.Abort"/>; where the task ends without
    /// either, or with an exception, the client is aborted.
    /// </summary>
    Task HandleAsync(ClientStream client);

    /// <summary><see cref="HandleAsync"/> threw; the client is aborted if it was not ended. Must
    /// not throw: there is nobody above it.</summary>
    void OnFault(ClientStream client, Exception exception);

    /// <summary>A handoff ended before there was a client to answer. Called on the thread pool.</summary>
    void OnRejected(HandoffRejection reason, HandoffPeer peer);

    /// <summary>A thread hung and another one goes on: somebody holds a socket that was handed over, or its
    /// release takes long. Called on the thread pool.</summary>
    void OnThreadReplaced(HungWork work)
    {
    }
}
