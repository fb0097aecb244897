using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Timers;

namespace StreamingDaemon.Uring.Clients;

/// <summary>Where a client is on its way. It only ever moves down this list.</summary>
internal enum ClientState : byte
{
    /// <summary>The slot is on the free list.</summary>
    Free,

    /// <summary>Bytes of the answer are taken and sent.</summary>
    Streaming,

    /// <summary>Our end of the stream is sent (FIN); what the client still sends is read and
    /// dropped.</summary>
    Lingering,

    /// <summary>Cancelled: waits for the completions of what was in flight.</summary>
    Closing,
}

/// <summary>
/// One client's slot. Loop-owned: no other thread reads or writes it.
/// Invariants: at most one send in flight; the slot is freed only after the completion of everything in
/// flight.
/// </summary>
internal sealed class ClientConnection(int index) : LoopTimer
{
    public readonly int Index = index;

    /// <summary>Raised at each reuse; part of every user_data, so that a late completion is known.</summary>
    public uint Generation;
    public int Fd = -1;
    public ClientState State;
    public ClientStream? Stream;

    /// <summary>Who handed it over.</summary>
    public HandoffPeer Peer;

    /// <summary>It seemed to be gone before its socket was checked.</summary>
    public bool SeemsGone;

    /// <summary>Bytes that the kernel reads from; <see cref="Sent"/> of them are gone.</summary>
    public NativeBuffer Sending;
    public int Sent;

    /// <summary>What is in <see cref="Sending"/> is the loop's own; the producer knows nothing of
    /// it.</summary>
    public bool IsSendingKeepAlive;

    /// <summary>What was last sent ends inside a flush: nothing may come between.</summary>
    public bool IsInsideFlush;

    /// <summary>The kernel had no memory for the send: it is made again when the timer fires.</summary>
    public bool IsStalled;

    /// <summary>When the client was last seen to take bytes, while some wait for it: ms of the loop's
    /// clock.</summary>
    public long ProgressMs;

    /// <summary>Longer ago than any window. Not 0: the clock begins when the machine does.</summary>
    public const long NeverSent = long.MinValue / 2;

    /// <summary>When the last send was submitted, ms of the loop's clock.</summary>
    public long LastSendMs = NeverSent;

    /// <summary>What the kernel still held for it when last asked (SIOCOUTQ), or -1.</summary>
    public int UnsentInKernel = -1;

    /// <summary>In the list of clients whose outbox is sent at the end of this turn, or in that of those
    /// who wait for the end of a window.</summary>
    public bool IsDirty;
    public bool IsSending;

    /// <summary>What is in flight where <see cref="IsSending"/> is set: the send, or the wait until one is
    /// possible.</summary>
    public OperationKind SendingKind;
    public bool IsWatched;

    /// <summary>Our end of the stream is being shut down.</summary>
    public bool IsShuttingDown;

    /// <summary>What it still sends is being read, or waited for.</summary>
    public bool IsReceiving;

    /// <summary>What is in flight where <see cref="IsReceiving"/> is set.</summary>
    public OperationKind ReceivingKind;

    /// <summary>It had its end, but a call on its socket does not return: the loop does not wait for
    /// it.</summary>
    public bool IsLeftBehind;

    /// <summary>Does it count against the limit of connections (or was it taken only to be
    /// refused)?</summary>
    public bool IsAdmitted;
    public long LingeredBytes;
    public ClientEnd End;

    /// <summary>A call that takes its socket's lock is under way.</summary>
    public bool HasCallInFlight => IsShuttingDown
        || (IsSending && SendingKind == OperationKind.ClientSend)
        || (IsReceiving && ReceivingKind == OperationKind.ClientRead);

    public bool HasOperationInFlight => IsSending || IsWatched || IsReceiving || IsShuttingDown;
}
