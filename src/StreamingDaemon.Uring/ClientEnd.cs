namespace StreamingDaemon.Uring;

/// <summary>How the connection to a client ended, as the loop saw it.</summary>
public enum ClientEnd : byte
{
    /// <summary>It has not ended.</summary>
    None,

    /// <summary>Every byte and the end of stream were handed to the kernel.</summary>
    Completed,

    /// <summary>The client closed, half-closed or reset its connection first.</summary>
    ClientGone,

    /// <summary>The client took no byte for the write timeout, was behind while memory was short, or its
    /// calls took too much CPU time.</summary>
    SlowClient,

    /// <summary><see cref="ClientStream.Abort"/> was called.</summary>
    Aborted,

    /// <summary>The server was stopped at once.</summary>
    ServerStopped,

    /// <summary>The kernel refused an operation on the socket for a reason of its own.</summary>
    SocketError,
}
