using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Ring;

namespace StreamingDaemon.Uring;

/// <summary>What a <see cref="HandoffServer"/> can be told. Values are used as they are: validate them
/// first.</summary>
public sealed record HandoffServerOptions
{
    /// <summary>Path of the listening socket, at most 107 bytes of UTF-8.</summary>
    public required string SocketPath { get; init; }

    /// <summary>Permission bits of the socket; they hold from the moment the path is visible.</summary>
    public int SocketMode { get; init; } = 0x1B0; // 0660

    /// <summary>Group of the socket, by name or number; null leaves it to the kernel. Holds from the moment
    /// the path is visible too.</summary>
    public string? SocketGroup { get; init; }

    /// <summary>Takes a path on which somebody listens, in one step, instead of refusing it. The other goes
    /// on with what it has.</summary>
    public bool Takeover { get; init; }

    /// <summary>A listening socket that the service manager passed, or -1. The path is then neither bound nor
    /// removed: it is the service manager's, and what waits in the queue at the end is its next
    /// start's.</summary>
    public int PassedSocket { get; init; } = -1;

    /// <summary>SOCK_SEQPACKET, or SOCK_STREAM for modules that send so.</summary>
    public bool UseStreamSocket { get; init; }

    /// <summary>Asked of listen(2); the kernel caps it at net.core.somaxconn.</summary>
    public int Backlog { get; init; } = 65_535;

    /// <summary>Clients served at once; more are admitted as
    /// <see cref="HandoffAdmission.OverCapacity"/>. Lowered at start to what the limit of descriptors allows
    /// (<see cref="DescriptorBudget"/>).</summary>
    public int MaxConnections { get; init; } = 10_000;

    /// <summary>Descriptors that a client costs: its own, and one more where the handler opens a connection
    /// for each.</summary>
    public int DescriptorsPerConnection { get; init; } = 1;

    /// <summary>What streams may hold of memory; above it they are admitted as
    /// <see cref="HandoffAdmission.OverMemory"/>.</summary>
    public MemoryBudget Memory { get; init; } = MemoryBudget.Unlimited;

    /// <summary>Replaces the budget of this process, for tests.</summary>
    internal DescriptorBudget? Budget { get; init; }

    /// <summary>False where there is to be no memory for handoffs, for tests.</summary>
    internal Func<bool>? MayMapHandoffs { get; init; }

    /// <summary>False where there is to be no thread of that name, for tests.</summary>
    internal Func<string, bool>? MayStartThread { get; init; }

    /// <summary>Told of each thread that hung and was replaced. Set by the server.</summary>
    internal Action<HungWork>? OnThreadReplaced { get; init; }

    /// <summary>Stands between the loop and a client's socket, for tests.</summary>
    internal ClientCallFault? CallFault { get; init; }

    /// <summary>The kernel's workers make all calls on clients' sockets, for tests.</summary>
    internal bool AlwaysUsesWorkers { get; init; }

    /// <summary>Told of each descriptor that a loop gives up, on its thread, for tests.</summary>
    internal Action<int>? Releasing { get; init; }

    /// <summary>Stands between the ring and the kernel, for tests.</summary>
    internal RingFault? RingFault { get; init; }

    /// <summary>Users whose processes may hand over, by the effective id (SO_PEERCRED). With both lists empty
    /// everybody may; else who is in one of them.</summary>
    public IReadOnlyList<int> AllowedUids { get; init; } = [];

    /// <summary>As <see cref="AllowedUids"/>: effective group ids, not the supplementary ones.</summary>
    public IReadOnlyList<int> AllowedGids { get; init; } = [];

    /// <summary>A client that shuts down its sending side is still sent everything; else it counts as
    /// gone.</summary>
    public bool KeepHalfClosed { get; init; }

    /// <summary>Largest handoff data, bytes.</summary>
    public int MaxHandoffBytes { get; init; } = 212_960;

    /// <summary>Unsent bytes of one client above which its <see cref="ClientStream.FlushAsync"/>
    /// waits.</summary>
    public int MaxPendingBytes { get; init; } = 256 * 1024;

    /// <summary>Milliseconds: what is flushed sooner than this after a client's last send waits, for no
    /// longer than this, and leaves together with what else comes. 0 sends everything at once.</summary>
    public int CoalesceMs { get; init; }

    /// <summary>Bytes of a finished client's request that are read and dropped before it is closed
    /// anyway.</summary>
    public long MaxLingerBytes { get; init; } = 16 << 20;

    /// <summary>Milliseconds within which a handoff must be whole.</summary>
    public int HandoffTimeoutMs { get; init; } = 5_000;

    /// <summary>Milliseconds that a client may take none of the bytes that wait for it. Noticed up to a
    /// quarter or a second later, whichever is less.</summary>
    public int WriteTimeoutMs { get; init; } = 30_000;

    /// <summary>What is sent to a client that has been sent nothing for
    /// <see cref="KeepAliveIntervalMs"/>, once its producer allows it
    /// (<see cref="ClientStream.BeginKeepAlive"/>).</summary>
    public ReadOnlyMemory<byte> KeepAlive { get; init; }

    /// <summary>Milliseconds; 0 is off.</summary>
    public int KeepAliveIntervalMs { get; init; }

    /// <summary>Milliseconds that a client has to close after our end of stream.</summary>
    public int LingerTimeoutMs { get; init; } = 2_000;

    /// <summary>Loops, each with a ring and a thread of its own; the first accepts for all of them.</summary>
    public int Rings { get; init; } = 1;

    /// <summary>Submission queue entries of each ring, a power of two.</summary>
    public int RingEntries { get; init; } = 4_096;

    /// <summary>A kernel thread submits (IORING_SETUP_SQPOLL): fewer system calls for a core of its
    /// own.</summary>
    public bool SqPoll { get; init; }
}
