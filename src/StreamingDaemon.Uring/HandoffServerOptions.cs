using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Ring;

namespace StreamingDaemon.Uring;

/// <summary>Options of a <see cref="HandoffServer"/>. It uses values as they are: validate them
/// first.</summary>
public sealed record HandoffServerOptions
{
    /// <summary>Path of the listening socket, at most 107 bytes of UTF-8.</summary>
    public required string SocketPath { get; init; }

    /// <summary>Permission bits of the socket; they hold from the moment the path is visible.</summary>
    public int SocketMode { get; init; } = 0x1B0; // 0660

    /// <summary>Group of the socket, by name or number; null leaves it to the kernel. It also holds from the
    /// moment the path is visible.</summary>
    public string? SocketGroup { get; init; }

    /// <summary>Takes over a path on which another process listens, in one step, instead of refusing it. The
    /// other process goes on with its clients.</summary>
    public bool Takeover { get; init; }

    /// <summary>A listening socket that the service manager passed, or -1. The path is then neither bound nor
    /// removed, because the service manager owns it. What waits in the queue at the end is left to the next
    /// start.</summary>
    public int PassedSocket { get; init; } = -1;

    /// <summary>SOCK_SEQPACKET, or SOCK_STREAM for modules that use it.</summary>
    public bool UseStreamSocket { get; init; }

    /// <summary>Backlog passed to listen(2); the kernel caps it at net.core.somaxconn.</summary>
    public int Backlog { get; init; } = 65_535;

    /// <summary>Clients served at once; more are admitted as <see cref="HandoffAdmission.OverCapacity"/>. The
    /// start lowers it to what the descriptor limit allows (<see cref="DescriptorBudget"/>).</summary>
    public int MaxConnections { get; init; } = 10_000;

    /// <summary>Descriptors per client: its own, and one more if the handler opens a connection for
    /// each.</summary>
    public int DescriptorsPerConnection { get; init; } = 1;

    /// <summary>Memory that streams may hold; above it they are admitted as
    /// <see cref="HandoffAdmission.OverMemory"/>.</summary>
    public MemoryBudget Memory { get; init; } = MemoryBudget.Unlimited;

    /// <summary>Replaces the budget of this process, for tests.</summary>
    internal DescriptorBudget? Budget { get; init; }

    /// <summary>False if handoffs should find no memory, for tests.</summary>
    internal Func<bool>? MayMapHandoffs { get; init; }

    /// <summary>False if no thread of that name should start, for tests.</summary>
    internal Func<string, bool>? MayStartThread { get; init; }

    /// <summary>Told of each thread that hung and was replaced. Set by the server.</summary>
    internal Action<HungWork>? OnThreadReplaced { get; init; }

    /// <summary>Called if another holder has shut down the passed socket. On the loop.</summary>
    internal Action? OnListenerLost { get; init; }

    /// <summary>Stands between the loop and a client's socket, for tests.</summary>
    internal ClientCallFault? CallFault { get; init; }

    /// <summary>CPU time that the calls of a costly client may take in all; then the client is
    /// ended.</summary>
    internal int MostCostMs { get; init; } = 10_000;

    /// <summary>As <see cref="CallFault"/>, for the calls of costly clients.</summary>
    internal ClientCallFault? CostlyCallFault { get; init; }

    /// <summary>Says in the kernel's place whether it encrypts for a client, by its descriptor, for
    /// tests.</summary>
    internal Func<int, bool>? TlsAnswer { get; init; }

    /// <summary>The kernel's workers make all calls on clients' sockets, for tests.</summary>
    internal bool AlwaysUsesWorkers { get; init; }

    /// <summary>Told of each descriptor that a loop gives up, on its thread, for tests.</summary>
    internal Action<int>? Releasing { get; init; }

    /// <summary>Stands between the ring and the kernel, for tests.</summary>
    internal RingFault? RingFault { get; init; }

    /// <summary>Users whose processes may hand over, by effective id (SO_PEERCRED). If both lists are empty,
    /// everybody may; otherwise a peer must be in one of them.</summary>
    public IReadOnlyList<int> AllowedUids { get; init; } = [];

    /// <summary>As <see cref="AllowedUids"/>: effective group ids, not the supplementary ones.</summary>
    public IReadOnlyList<int> AllowedGids { get; init; } = [];

    /// <summary>A client that shuts down its sending side still gets the whole answer; otherwise it counts as
    /// gone.</summary>
    public bool KeepHalfClosed { get; init; }

    /// <summary>The longest message: what one of SOCK_SEQPACKET holds with the kernel's default buffer
    /// (net.core.wmem_default). Longer data comes in a descriptor.</summary>
    public const int LongestMessage = 212_960;

    /// <summary>Largest handoff data, bytes; of that in messages, at most
    /// <see cref="LongestMessage"/>.</summary>
    public int MaxHandoffBytes { get; init; } = 8 * 1024 * 1024;

    /// <summary>Unsent bytes of one client above which its <see cref="ClientStream.FlushAsync"/>
    /// waits.</summary>
    public int MaxPendingBytes { get; init; } = 256 * 1024;

    /// <summary>Milliseconds. A flush that comes sooner than this after a client's last send waits, at most
    /// this long, and leaves together with later ones. 0 sends everything at once.</summary>
    public int CoalesceMs { get; init; }

    /// <summary>Bytes of a finished client's request to read and drop; beyond them it is closed
    /// anyway.</summary>
    public long MaxLingerBytes { get; init; } = 16 << 20;

    /// <summary>Milliseconds within which a handoff must be complete.</summary>
    public int HandoffTimeoutMs { get; init; } = 5_000;

    /// <summary>Milliseconds that a client may take none of its waiting bytes. Noticed up to a quarter or a
    /// second later, whichever is less.</summary>
    public int WriteTimeoutMs { get; init; } = 30_000;

    /// <summary>Sent to a client that was sent nothing for <see cref="KeepAliveIntervalMs"/>, once its
    /// producer allows it (<see cref="ClientStream.BeginKeepAlive"/>).</summary>
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
