using System.Diagnostics;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.IoUringConstants;
using static StreamingDaemon.Uring.Interop.SocketConstants;

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
/// One client, in its slot: its watch, its one timer, and in the other files its sends
/// (<c>ClientConnection.Sending.cs</c>) and its end (<c>ClientConnection.Ending.cs</c>,
/// <c>ClientConnection.Tls.cs</c>). <c>ClientConnection.Unix.cs</c> bounds what a Unix client leaves unread.
/// Loop-owned: no other thread reads or writes it. Invariants: at most one send in flight; the slot is freed
/// only after the completion of everything in flight.
/// </summary>
/// <remarks>
/// Its timer: while bytes wait for the client, it checks that the client takes some. While none wait, it is
/// the keep-alive. Setting it for each token is a store (1 ns was measured, with 10,000 clients); it moves in
/// the wheel when its old place there comes round.
/// </remarks>
internal sealed partial class ClientConnection(int index, ClientTable table) : LoopTimer
{
    /// <summary>From the first look at a check under way to the last one.</summary>
    private const int LongestCheckMs = 100;

    private readonly ClientTable _table = table;

    private ClientState _state;
    private bool _isWatched;

    /// <summary>It seemed to be gone before its socket was checked.</summary>
    private bool _seemsGone;

    /// <summary>Does it count against the limit of connections? If not, it was taken only to be
    /// refused.</summary>
    private bool _isAdmitted;

    /// <summary>A Unix socket: what it sends may hold descriptors.</summary>
    private bool _isUnix;

    /// <summary>The deadline has met the check under way.</summary>
    private bool _checkWasSeen;

    public int Index { get; } = index;

    /// <summary>Raised at each reuse. It is part of every operation's name, so that a late completion is
    /// recognized.</summary>
    public uint Generation { get; private set; }

    public int Fd { get; private set; } = -1;

    /// <summary>The process that handed it over.</summary>
    public HandoffPeer Peer { get; private set; }

    /// <summary>What its calls cost; null if none was measured. <see cref="ClientCalls"/> sets it.</summary>
    public ClientCost? Cost { get; set; }

    /// <summary>What the calls of its network namespace cost.</summary>
    public NetworkCost? Network => Stream?.Network;

    /// <summary>Its call that another thread makes, or null. Only a client with a <see cref="Cost"/> has one.
    /// <see cref="ClientCalls"/> sets it.</summary>
    public CostlyCall? CostlyCall
    {
        get => Cost?.Call;
        set
        {
            if (Cost is { } cost)
                cost.Call = value;
        }
    }

    /// <summary>The producer's side; null while the slot is free.</summary>
    public ClientStream? Stream { get; private set; }

    private LoopContext Loop => _table.Loop;

    public void Start(in ReceivedClient received)
    {
        Debug.Assert(_state == ClientState.Free, "a slot in use was handed out");
        Fd = received.Fd;
        Peer = received.Peer;
        _state = ClientState.Streaming;
        LastSendMs = NeverSent;
        _isAdmitted = received.Admission != HandoffAdmission.OverCapacity;
        _isUnix = received.IsUnix;
        _checkWasSeen = false;
        Stream = new ClientStream(Loop, this, received);
        Stream.Network = _table.Calls.Enter(this);
        ArmWatch();
        // Until its socket is checked, which another process may hold up.
        Loop.SetTimer(this, Loop.Options.HandoffTimeoutMs);
        Loop.Handlers.Begin(Stream);
    }

    /// <summary>What was in flight for it has completed. Its generation is checked.</summary>
    public void OnCompletion(OperationKind kind, in CompletionEntry completion)
    {
        switch (kind)
        {
            case OperationKind.ClientWatch:
                OnWatch(completion);
                break;
            case OperationKind.ClientWritable:
                OnWritable(completion.Result);
                break;
            case OperationKind.ClientReadable:
                OnReadable(completion.Result);
                break;
            default:
                _table.Calls.OnWorkerAnswered(this);
                OnCall(kind, completion.Result);
                break;
        }
    }

    /// <summary>A call on its socket has been made.</summary>
    public void OnCall(OperationKind kind, int result)
    {
        switch (kind)
        {
            case OperationKind.ClientSend:
                OnSent(result);
                break;
            case OperationKind.ClientRead:
                OnRead(result);
                break;
            case OperationKind.ClientShutdown:
                OnShutDown();
                break;
            case OperationKind.ClientCloseNotify:
                OnCloseNotified(result);
                break;
        }
    }

    /// <summary>A stream of this slot has something to send or to end, or the end of its check was waited
    /// for.</summary>
    public void OnPosted(ClientStream stream)
    {
        stream.Outbox.OnTaken();
        // Its client is gone, and the slot may have a new one.
        if (!ReferenceEquals(Stream, stream))
            return;
        if (stream.Outbox.EndRequested == StreamEndRequest.Abort)
            BeginClose(ClientEnd.Aborted);
        else if (_seemsGone)
            BeginClose(ClientEnd.ClientGone);
        else if (_state == ClientState.Streaming)
            QueueSend();
        // It may have waited only for the end of its check.
        FinishCloseIfIdle();
    }

    public void OnDeadline()
    {
        if (Stream?.AwaitsCheck == true)
            Loop.SetTimer(this, Loop.Options.HandoffTimeoutMs);
        else if (_state != ClientState.Closing && Stream?.IsBeingChecked == true)
            OnCheckDeadline();
        else if (_isDraining && _state == ClientState.Lingering)
            ProbeDrain();
        else if (_state == ClientState.Lingering)
            BeginClose(ClientEnd.Completed);
        else if (_state == ClientState.Closing)
            OnCloseTooLong();
        else if (_state == ClientState.Streaming)
            OnSendDeadline();
    }

    /// <summary>Arms in a new ring what was in flight in the old one.</summary>
    /// <param name="ended">What has completed in the old one: the names of operations.</param>
    public void ArmAgain(HashSet<ulong> ended)
    {
        if (_state == ClientState.Free)
            return;
        // A send, read or shutdown under way is the call that hangs: workers had none.
        var wasWatched = _isWatched && WasCut(OperationKind.ClientWatch);
        var waitedToWrite = _sendOperation == OperationKind.ClientWritable
            && WasCut(OperationKind.ClientWritable);
        var waitedToRead = _readOperation == OperationKind.ClientReadable
            && WasCut(OperationKind.ClientReadable);
        _isWatched &= !wasWatched;
        if (waitedToWrite)
            _sendOperation = OperationKind.None;
        if (waitedToRead)
            _readOperation = OperationKind.None;
        if (_state == ClientState.Closing)
        {
            FinishCloseIfIdle();
            return;
        }

        if (wasWatched)
            ArmWatch();
        if (waitedToWrite)
            AwaitWritable();
        if (waitedToRead)
            AwaitReadable();

        bool WasCut(OperationKind kind) => !ended.Contains(OperationId.Pack(kind, Generation, Index));
    }

    private void ArmWatch()
    {
        Loop.Operations.PollForEnd(Fd, Loop.Options.KeepHalfClosed, Generation, Index);
        _isWatched = true;
    }

    private void OnWatch(in CompletionEntry completion)
    {
        _isWatched = (completion.Flags & CqeMore) != 0;
        if (_state != ClientState.Streaming)
            FinishCloseIfIdle();
        else if (IsInterrupted(completion.Result))
            ArmWatch();
        else if (completion.Result < 0)
            BeginClose(ClientEnd.SocketError);
        else if (!Loop.Options.KeepHalfClosed || (completion.Result & (PollHup | PollErr)) != 0)
            OnGone();
        else if (!_isWatched)
            ArmWatch();
    }

    private void OnGone()
    {
        // A socket that was never connected looks the same until it is checked.
        if (Stream!.IsToldWhenChecked())
            _seemsGone = true;
        else
            BeginClose(ClientEnd.ClientGone);
    }

    /// <summary>The deadline counts from the handoff. The check may have begun a moment ago, behind those of
    /// others: only one that is still under way at the next look takes too long.</summary>
    private void OnCheckDeadline()
    {
        if (!_checkWasSeen)
        {
            _checkWasSeen = true;
            Loop.SetTimer(this, Math.Min(LongestCheckMs, Loop.Options.HandoffTimeoutMs));
        }
        else if (Stream!.TryTimeOutCheck())
        {
            Loop.Handlers.ReportRejection(HandoffRejection.CheckTimedOut, Peer);
            BeginClose(ClientEnd.SocketError);
        }
    }

    /// <summary>Ended without being completed, and not by us: otherwise the client would be
    /// closing.</summary>
    private static bool IsInterrupted(int result) => result is -Errno.Intr or -Errno.Canceled;

    private void Free()
    {
        Debug.Assert(!HasOperationInFlight, "the kernel still points into this slot's memory");
        Loop.Timers.Remove(this);
        Stream!.OnEnded(_end);
        Loop.Releases.Add(Fd, HowToRelease);
        ReleaseSending();
        HoldInKernel(_inKernelAtMost = 0);
        var wasLeftBehind = _isLeftBehind;
        Fd = -1;
        _state = ClientState.Free;
        _table.Calls.Leave(Network!);
        (Stream, Cost) = (null, null);
        _isInsideFlush = _isStalled = _seemsGone = _isLeftBehind = _isAllSent = false;
        _hasMetFullBuffer = _isDraining = false;
        _sent = 0;
        _lingeredBytes = 0;
        _fruitlessSends = _fruitlessReads = 0;
        _end = ClientEnd.None;
        Generation++;
        _table.OnFree(this, wasLeftBehind);
        Loop.Places.Return(_isAdmitted);
    }
}
