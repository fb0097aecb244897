namespace StreamingDaemon.Uring;

/// <summary>How a client came in.</summary>
public enum HandoffAdmission : byte
{
    /// <summary>To serve.</summary>
    Admitted,

    /// <summary>All connections are in use: the client is told so and ended.</summary>
    OverCapacity,

    /// <summary>Streams hold all the memory they may: the client is told so and ended. Its handoff data may
    /// be missing.</summary>
    OverMemory,

    /// <summary>The handoff data was longer than accepted and is cut: the client is told so and
    /// ended.</summary>
    TooLarge,
}

/// <summary>Why a handoff brought no client that could be answered.</summary>
public enum HandoffRejection
{
    /// <summary>No file descriptor came with the message.</summary>
    NoDescriptor,

    /// <summary>The descriptor is not a connected stream socket.</summary>
    NotAStreamSocket,

    /// <summary>The client's connection was reset before its handoff was received.</summary>
    ClientGone,

    /// <summary>The server was stopped at once.</summary>
    ServerStopped,

    /// <summary>The descriptor was cut off (MSG_CTRUNC) though our table has room: a security module
    /// (SELinux, AppArmor) denies it.</summary>
    DescriptorsTruncated,

    /// <summary>Nothing, or only a part, came before the handoff timeout, or before its place was
    /// needed.</summary>
    TimedOut,

    /// <summary>The peer left without sending anything.</summary>
    PeerClosed,

    /// <summary>The kernel refused to receive.</summary>
    ReceiveFailed,

    /// <summary>The client's socket answered no check within the handoff timeout: another process holds its
    /// lock.</summary>
    CheckTimedOut,

    /// <summary>Neither the peer's user nor its group is allowed to hand over.</summary>
    PeerNotAllowed,
}
