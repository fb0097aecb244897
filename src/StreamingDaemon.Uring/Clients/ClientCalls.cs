using System.Collections.Concurrent;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

/// <summary>
/// The three calls on a client's socket that take its lock: send, shutdown, recv. None waits for the client
/// (MSG_DONTWAIT), but each waits for the lock, and whoever else has a descriptor of the socket can hold that
/// for ever: a send from memory that faults does. They are system calls of their own, so that it is known
/// which of them hangs, and never part of an enter, which would take all others of its batch with it. A
/// thread that hangs in one is replaced. From then on and for a while the kernel's workers make these calls
/// (IOSQE_ASYNC): they cost more, and their hanging harms their own client alone.
/// </summary>
internal sealed unsafe class ClientCalls : IHangWatched
{
    /// <summary>How long the kernel's workers make the calls after one was found to hang.</summary>
    private const int WorkersForMs = 10_000;

    private const int ScratchBytes = 64 * 1024;

    private readonly LoopContext _loop;
    private readonly ConcurrentQueue<ReturnedCall> _returned = new();
    private readonly HangWatch _hangWatch = new();

    /// <summary>What lingering clients send is read to here, all of them at once: nobody looks at
    /// it.</summary>
    private NativeBuffer _scratch;

    private long _usesWorkersUntilMs = long.MinValue;
    private bool _usesWorkers;

    /// <summary>Calls that the kernel's workers have not answered.</summary>
    private int _workerCalls;

    /// <summary>Odd while the loop's thread is inside such a call; raised by it, or by who replaces
    /// it.</summary>
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

    /// <summary>Called with a call's number if that hangs, by the thread that watches. Set before the loop
    /// runs.</summary>
    public Action<long>? Replace { get; set; }

    /// <summary>Threads of this loop that were left behind. From any thread.</summary>
    public HungThreads HungThreads => new(Volatile.Read(ref _hungNow), Volatile.Read(ref _hungEver));

    /// <summary>Is there a call that came back to a thread which had been replaced?</summary>
    public bool HasReturned => !_returned.IsEmpty;

    bool IHangWatched.IsBusy => _loop.IsBusy;

    void IHangWatched.LookForHang()
    {
        var call = Volatile.Read(ref _call);
        if (_hangWatch.Hangs(call, Volatile.Read(ref _threadId)))
            Replace?.Invoke(call);
    }

    /// <summary>The calling thread makes the calls from now on.</summary>
    public void BindThread() => Volatile.Write(ref _threadId, LinuxNative.GetThreadId());

    /// <summary>Makes the call, or has a worker make it. Its result is handled at once, or with its
    /// completion.</summary>
    public void Make(ClientConnection client, OperationKind kind)
    {
        if (_usesWorkers)
        {
            SubmitToWorker(client, kind);
            return;
        }

        if (_isCalling)
        {
            // From the handling of this client's last call, of which it would be the caller.
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

    /// <summary>A worker has answered; while it was under way, the client's slot was not freed.</summary>
    public void OnWorkerAnswered() => _workerCalls--;

    /// <summary>Once a turn: back to plain calls, if none of the workers' hangs.</summary>
    public void MayLeaveWorkers()
    {
        if (_usesWorkers && _workerCalls == 0 && _loop.NowMs >= _usesWorkersUntilMs)
            _usesWorkers = false;
    }

    /// <summary>Takes the loop over from a thread that hangs in the call of that number. On the thread that
    /// goes on.</summary>
    /// <returns>False if the call has returned.</returns>
    public bool TryTakeOver(long call)
    {
        if (Interlocked.CompareExchange(ref _call, call + 1, call) != call)
            return false;
        Interlocked.Increment(ref _hungNow);
        Interlocked.Increment(ref _hungEver);
        _isCalling = false;
        _loop.ReadClock();
        _usesWorkers = true;
        _usesWorkersUntilMs = Math.Max(_usesWorkersUntilMs, _loop.NowMs + WorkersForMs);
        return true;
    }

    /// <summary>A call has come back to the thread that was replaced. From that thread, its last act
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
        while (_returned.TryDequeue(out var call))
        {
            // Its slot was not freed meanwhile: the call was in flight.
            call.Client.OnCall(call.Kind, call.Result);
        }
    }

    public void ReleaseBuffers() => _loop.Buffers.Return(ref _scratch);

    /// <exception cref="LoopReplacedException">Another thread has taken the loop over: nothing of it may be
    /// touched any more.</exception>
    private int CallNow(ClientConnection client, OperationKind kind)
    {
        var call = _call + 1;
        Volatile.Write(ref _call, call);
        var result = _loop.Options.CallFault is { } fault
            ? fault(new ClientCall(kind, client.Fd, BytesOf(client, kind), LengthOf(client, kind)))
            : ClientCall.Make(kind, client.Fd, BytesOf(client, kind), LengthOf(client, kind));
        if (Interlocked.CompareExchange(ref _call, call + 1, call) != call)
            throw new LoopReplacedException(new ReturnedCall(client, kind, result));
        return result;
    }

    private byte* BytesOf(ClientConnection client, OperationKind kind) =>
        kind == OperationKind.ClientSend ? client.UnsentBytes : _scratch.Pointer;

    private static int LengthOf(ClientConnection client, OperationKind kind) =>
        kind == OperationKind.ClientSend ? client.UnsentLength : ScratchBytes;

    private void SubmitToWorker(ClientConnection client, OperationKind kind)
    {
        var (fd, generation, slot) = (client.Fd, client.Generation, client.Index);
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
            default:
                _loop.Operations.ShutdownByWorker(fd, generation, slot);
                break;
        }

        _workerCalls++;
    }
}
