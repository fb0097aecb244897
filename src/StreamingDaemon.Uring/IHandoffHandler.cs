namespace StreamingDaemon.Uring;

/// <summary>Answers handoffs. Never called on the loop's thread.</summary>
public interface IHandoffHandler
{
    /// <summary>
    /// Answers one client. One thread calls it for all clients of a loop, in the order of their handoffs. The
    /// next client waits for the return, so await whatever may take long. With several loops
    /// (<see cref="HandoffServerOptions.Rings"/>), their threads call at the same time. Ends the client with
    /// <see cref="ClientStream.Complete"/> or <see cref="ClientStream.Abort"/>. If the task ends without
    /// either, or with an exception, the client is aborted.
    /// </summary>
    Task HandleAsync(ClientStream client);

    /// <summary><see cref="HandleAsync"/> threw; the client is aborted if it was not ended. Must not throw:
    /// nothing above it catches.</summary>
    void OnFault(ClientStream client, Exception exception);

    /// <summary>A handoff ended before there was a client to answer. Called on the thread pool.</summary>
    void OnRejected(HandoffRejection reason, HandoffPeer peer);

    /// <summary>A thread hung and was replaced: another process holds a socket that was handed over, or its
    /// release takes long. Called on the thread pool.</summary>
    void OnThreadReplaced(HungWork work)
    {
    }
}
