using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Ring;

namespace StreamingDaemon.Uring.Loop;

// The three calls on a client's socket that take its lock: send, shutdown, recv. None waits for the client
// (MSG_DONTWAIT), but each waits for the lock, and whoever else has a descriptor of the socket can hold that
// for ever: a send from memory that faults does. They are system calls of their own, so that it is known
// which of them hangs, and never part of an enter, which would take all others of its batch with it. A thread
// that hangs in one is replaced (EventLoop.Takeover.cs). From then on and for a while the kernel's workers
// make these calls (IOSQE_ASYNC): they cost more, and their hanging harms their own client alone.
internal sealed unsafe partial class EventLoop
{
    /// <summary>How long the kernel's workers make the calls after one was found to hang.</summary>
    private const int WorkersForMs = 10_000;

    private long _usesWorkersUntilMs = long.MinValue;
    private bool _usesWorkers;

    /// <summary>Calls that the kernel's workers have not answered.</summary>
    private int _workerCalls;

    /// <summary>Odd while this loop's thread is inside such a call; raised by it, or by who replaces
    /// it.</summary>
    private long _call;

    private bool _isCalling;
    private OperationKind _nextCall;

    /// <summary>Makes the call, or has a worker make it. Its result is handled at once, or with its
    /// completion.</summary>
    private void CallClient(ClientConnection client, OperationKind kind)
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
            OnClientCall(client, kind, CallNow(client, kind));
            kind = _nextCall;
        }

        _isCalling = false;
    }

    /// <exception cref="LoopReplacedException">Another thread has taken the loop over: nothing of it may be
    /// touched any more.</exception>
    private int CallNow(ClientConnection client, OperationKind kind)
    {
        // The client's generation as it is now: by the return it may be somebody else's.
        var (call, generation) = (_call + 1, client.Generation);
        Volatile.Write(ref _call, call);
        var result = _loop.Options.CallFault is { } fault
            ? fault(new ClientCall(kind, client.Fd, BytesOf(client, kind), LengthOf(client, kind)))
            : ClientCall.Make(kind, client.Fd, BytesOf(client, kind), LengthOf(client, kind));
        if (Interlocked.CompareExchange(ref _call, call + 1, call) != call)
            throw new LoopReplacedException(new ReturnedCall(client, generation, kind, result));
        return result;
    }

    private byte* BytesOf(ClientConnection client, OperationKind kind) => kind == OperationKind.ClientSend
        ? client.Sending.Pointer + client.Sent
        : _scratch.Pointer;

    private static int LengthOf(ClientConnection client, OperationKind kind) =>
        kind == OperationKind.ClientSend ? client.Sending.Length - client.Sent : ScratchBytes;

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

    private void OnClientCall(ClientConnection client, OperationKind kind, int result)
    {
        switch (kind)
        {
            case OperationKind.ClientSend:
                OnSendCompleted(client, result);
                break;
            case OperationKind.ClientRead:
                OnRead(client, result);
                break;
            case OperationKind.ClientShutdown:
                OnShutDown(client);
                break;
        }
    }

    /// <summary>Once a turn: back to plain calls, if none of the workers' hangs.</summary>
    private void MayLeaveWorkers()
    {
        if (_usesWorkers && _workerCalls == 0 && _loop.NowMs >= _usesWorkersUntilMs)
            _usesWorkers = false;
    }
}
