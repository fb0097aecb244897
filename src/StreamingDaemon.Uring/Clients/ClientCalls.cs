using System.Collections.Concurrent;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

/// <summary>
/// The calls on a client's socket that take its lock: send, sendmsg, shutdown, recv. None waits for the
/// client (MSG_DONTWAIT), but each waits for the lock. Another process with a descriptor of the socket can
/// hold that lock for ever: a send from memory that faults does. Each is a system call of its own, so that
/// it is known which one hangs. None is part of an enter, which would hang with its whole batch. A thread
/// that hangs in one, or computes in it, is replaced. For a while after that, the kernel's workers make these
/// calls (IOSQE_ASYNC): they cost more, but a hang harms only its own client.
/// <see cref="CostlyCallThread"/> makes the calls that compute for long, or may do so.
/// </summary>
internal sealed unsafe partial class ClientCalls : IHangWatched
{
    /// <summary>How long the kernel's workers make the calls after a hang was found.</summary>
    private const int WorkersForMs = 10_000;

    private const int ScratchBytes = 64 * 1024;

    private readonly LoopContext _loop;
    private readonly ConcurrentQueue<ReturnedCall> _returned = new();
    private readonly HangWatch _hangWatch = new();
    private readonly CostWatch _costWatch = new();
    private readonly LongCallWatch _longCalls = new();

    /// <summary>The one buffer that all lingering clients are read into: nobody looks at these
    /// bytes.</summary>
    private NativeBuffer _scratch;

    private long _usesWorkersUntilMs = long.MinValue;
    private bool _usesWorkers;

    /// <summary>Calls that the kernel's workers have not completed.</summary>
    private int _workerCalls;

    /// <summary>Odd while the loop's thread is inside such a call; raised by that thread, or by the one that
    /// replaces it.</summary>
    private long _call;

    private bool _isCalling;
    private OperationKind _nextCall;
    private int _threadId;
    private int _hungNow;
    private long _hungEver;

    public ClientCalls(LoopContext loop)
    {
        _loop = loop;
        _scratch = loop.Buffers.Rent(ScratchBytes);
        if (loop.Options.AlwaysUsesWorkers)
            (_usesWorkers, _usesWorkersUntilMs) = (true, long.MaxValue);
    }

    /// <summary>Called with a call's number if that call hangs, by the thread that watches. Set before the
    /// loop runs.</summary>
    public Action<long>? Replace { get; set; }

    /// <summary>Called if calls return but compute for long, by the thread that watches. Set before the loop
    /// runs.</summary>
    public Action? OnCostly { get; set; }

    /// <summary>Threads of this loop that were left behind. From any thread.</summary>
    public HungThreads HungThreads => new(Volatile.Read(ref _hungNow), Volatile.Read(ref _hungEver));

    /// <summary>Has a call returned to a thread that had been replaced?</summary>
    public bool HasReturned => !_returned.IsEmpty;

    bool IHangWatched.IsBusy => _loop.IsBusy;

    void IHangWatched.LookForHang()
    {
        var (call, threadId) = (Volatile.Read(ref _call), Volatile.Read(ref _threadId));
        var cost = _costWatch.Look(call, threadId);
        if (cost == CallCost.OneCall || _hangWatch.Hangs(call, threadId))
            Replace?.Invoke(call);
        else if (cost == CallCost.Calls || LooksCostly)
            OnCostly?.Invoke();
    }

    /// <summary>The calling thread makes the calls from now on.</summary>
    public void BindThread()
    {
        _longCalls.Reset();
        Volatile.Write(ref _threadId, LinuxNative.GetThreadId());
    }

    /// <summary>Makes the call, or has a worker make it. Its result is handled at once, or with its
    /// completion.</summary>
    public void Make(ClientConnection client, OperationKind kind)
    {
        if (_usesWorkers || _measures)
        {
            if (TryPostCostly(client, kind))
                return;
            if (_usesWorkers)
            {
                SubmitToWorker(client, kind);
                return;
            }
        }
        else if (client.Cost is not null && TryPostCostly(client, kind))
        {
            return;
        }

        if (_isCalling)
        {
            // The last call of this client is being handled: it makes the next one when it returns.
            _nextCall = kind;
            return;
        }

        _isCalling = true;
        while (kind != OperationKind.None)
        {
            _nextCall = OperationKind.None;
            client.OnCall(kind, CallNow(client, kind));
            kind = _nextCall;
        }

        _isCalling = false;
    }

    /// <summary>A worker has completed it; meanwhile the client's slot was not freed.</summary>
    public void OnWorkerAnswered(ClientConnection client)
    {
        _workerCalls--;
        SuspectWorkersCall(client);
    }

    /// <summary>Once a turn: back to plain calls, if no worker's call hangs.</summary>
    public void MayLeaveWorkers()
    {
        if (_measures && _loop.NowMs >= Volatile.Read(ref _measuresUntilMs))
            EndAlert();
        if (_usesWorkers && _workerCalls == 0 && _loop.NowMs >= _usesWorkersUntilMs)
            _usesWorkers = false;
    }

    /// <summary>Has the kernel's workers make the calls for a while. From any thread: if the loop decides at
    /// the same moment to leave them, the next look finds that.</summary>
    public void UseWorkers()
    {
        var untilMs = LoopContext.ClockMs() + WorkersForMs;
        if (Volatile.Read(ref _usesWorkersUntilMs) < untilMs)
            Volatile.Write(ref _usesWorkersUntilMs, untilMs);
        Volatile.Write(ref _usesWorkers, true);
    }

    /// <summary>Takes over the loop from a thread that hangs in the call of that number. On the new
    /// thread. If the system gives no thread, the kernel has no workers either: calls left to them would
    /// wait.</summary>
    /// <returns>False if the call has returned.</returns>
    public bool TryTakeOver(long call, bool mayUseWorkers)
    {
        if (Interlocked.CompareExchange(ref _call, call + 1, call) != call)
            return false;
        Interlocked.Increment(ref _hungNow);
        Interlocked.Increment(ref _hungEver);
        _isCalling = false;
        _loop.ReadClock();
        if (!mayUseWorkers)
            return true;
        UseWorkers();
        // The call may compute, and so may the next ones: workers would make those all at once.
        BeginAlert();
        return true;
    }

    /// <summary>A call has returned to the replaced thread. Called by that thread, as its last act
    /// here.</summary>
    public void OnReturned(in ReturnedCall call)
    {
        Interlocked.Decrement(ref _hungNow);
        _returned.Enqueue(call);
        _loop.Mailbox.Wake();
    }

    /// <summary>Once a turn.</summary>
    public void TakeReturned()
    {
        PostHeld();
        while (_returned.TryDequeue(out var call))
        {
            // Its slot was not freed meanwhile: the call was in flight.
            TakeReturned(call);
        }
    }

    public void ReleaseBuffers() => _loop.Buffers.Return(ref _scratch);

    /// <exception cref="LoopReplacedException">Another thread has taken over the loop: this one must not
    /// touch it any more.</exception>
    private int CallNow(ClientConnection client, OperationKind kind)
    {
        var call = _call + 1;
        var isMeasured = _measures || client.Cost is not null;
        var begunNs = 0L;
        if (isMeasured)
            begunNs = ThreadTime.OfThisThread();
        else
            _longCalls.Begin();
        Volatile.Write(ref _call, call);
        var result = _loop.Options.CallFault is { } fault
            ? fault(new ClientCall(kind, client.Fd, BytesOf(client, kind), LengthOf(client, kind)))
            : ClientCall.Make(kind, client.Fd, BytesOf(client, kind), LengthOf(client, kind));
        if (Interlocked.CompareExchange(ref _call, call + 1, call) != call)
            throw new LoopReplacedException(new ReturnedCall(client, kind, result));
        if (isMeasured)
            OnMeasured(client, ThreadTime.OfThisThread() - begunNs);
        else if (_longCalls.End() is >= NetworkCost.AlarmingNs and var ns)
            OnUnexpectedCost(client, ns);
        return result;
    }

    private byte* BytesOf(ClientConnection client, OperationKind kind) =>
        kind == OperationKind.ClientSend ? client.UnsentBytes : _scratch.Pointer;

    private static int LengthOf(ClientConnection client, OperationKind kind) =>
        kind == OperationKind.ClientSend ? client.SendLength : ScratchBytes;

    private void SubmitToWorker(ClientConnection client, OperationKind kind)
    {
        var (fd, generation, slot) = (client.Fd, client.Generation, client.Index);
        (client.Cost ??= NewCost(client)).WorkerSinceMs = _loop.NowMs;
        switch (kind)
        {
            case OperationKind.ClientSend:
                _loop.Operations.SendByWorker(
                    fd, BytesOf(client, kind), LengthOf(client, kind), generation, slot);
                break;
            case OperationKind.ClientRead:
                _loop.Operations.ReadByWorker(
                    fd, BytesOf(client, kind), LengthOf(client, kind), generation, slot);
                break;
            case OperationKind.ClientCloseNotify:
                _loop.Operations.SendMessageByWorker(fd, CloseNotify.Message, kind, generation, slot);
                break;
            default:
                _loop.Operations.ShutdownByWorker(fd, generation, slot);
                break;
        }

        _workerCalls++;
    }
}
