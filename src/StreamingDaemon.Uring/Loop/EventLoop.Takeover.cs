using System.Collections.Concurrent;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;

namespace StreamingDaemon.Uring.Loop;

// Replacing the loop's thread while it hangs in a call on one client's socket. The thread is deep in the
// kernel and cannot be freed; everything else is ours. A new thread makes a new ring and arms there what was
// in flight in the old one. All that ever waits in a ring has no effect before its completion is taken:
// polls, accepts, looks at messages, the eventfd. So nothing is lost or done twice.
internal sealed partial class EventLoop : IHangWatched
{
    private readonly ConcurrentQueue<ReturnedCall> _returnedCalls = new();
    private readonly HangWatch _hangWatch = new();
    private readonly LoopAlarm _acceptAgain = new();
    private long _acceptAgainMs = long.MaxValue;
    private int _threadId;

    /// <summary>Starts a thread that calls <see cref="TryTakeOver"/> with the call's number, and runs the
    /// loop if that succeeds. Set before the loop runs.</summary>
    public Action<long>? Replace { get; set; }

    private int _hungNow;
    private long _hungEver;

    /// <summary>Threads of this loop that were left behind. From any thread.</summary>
    public HungThreads HungCalls => new(Volatile.Read(ref _hungNow), Volatile.Read(ref _hungEver));

    bool IHangWatched.IsBusy => _loop.IsBusy;

    void IHangWatched.LookForHang()
    {
        var call = Volatile.Read(ref _call);
        if (_hangWatch.Hangs(call, Volatile.Read(ref _threadId)))
            Replace?.Invoke(call);
    }

    /// <summary>A call has come back to the thread that was replaced. From that thread, its last act
    /// here.</summary>
    public void OnCallReturned(in ReturnedCall call)
    {
        Interlocked.Decrement(ref _hungNow);
        _returnedCalls.Enqueue(call);
        _loop.Mailbox.Wake();
    }

    /// <summary>Takes the loop over from a thread that hangs in the call of that number. On the thread that
    /// will <see cref="Run"/>.</summary>
    /// <param name="call">The number.</param>
    /// <param name="ring">A new one, the calling thread's.</param>
    /// <returns>False if the call has returned.</returns>
    public bool TryTakeOver(long call, IoUring ring)
    {
        if (Interlocked.CompareExchange(ref _call, call + 1, call) != call)
            return false;
        Interlocked.Increment(ref _hungNow);
        Interlocked.Increment(ref _hungEver);
        _isCalling = false;
        _loop.ReadClock();
        _usesWorkers = true;
        _usesWorkersUntilMs = Math.Max(_usesWorkersUntilMs, _loop.NowMs + WorkersForMs);
        var completed = _loop.Operations.Replace(ring);
        ArmAgain(completed);
        // Last: what these arm is in the new ring, and must not be armed twice. Run arms the eventfd.
        foreach (var completion in completed)
        {
            if (OperationId.KindOf(completion.UserData) != OperationKind.Wake)
                Dispatch(completion);
        }

        _loop.Options.OnThreadReplaced?.Invoke(HungWork.Loop);
        return true;
    }

    /// <summary>Arms in the new ring what was in flight in the old one, but for what has completed
    /// there.</summary>
    private void ArmAgain(List<CompletionEntry> completed)
    {
        var ended = new HashSet<ulong>();
        var endedAccepts = 0;
        foreach (var completion in completed)
        {
            if ((completion.Flags & IoUringConstants.CqeMore) != 0)
                continue;
            ended.Add(completion.UserData);
            endedAccepts += OperationId.KindOf(completion.UserData) == OperationKind.Accept ? 1 : 0;
        }

        // Those that have ended are still to be counted; the others are armed by the next turn.
        _acceptsArmed = endedAccepts;
        _acceptIsMultishot = _acceptsCancelled = false;
        // The old ring's accepts are cancelled by and by, and may take a wake-up with them: asked once more.
        _acceptAgainMs = _loop.NowMs + AcceptBackoffMs;
        _loop.Timers.Set(_acceptAgain, _acceptAgainMs);
        foreach (var handoff in _handoffs)
        {
            if (!handoff.IsReceiving || ended.Contains(
                OperationId.Pack(OperationKind.HandoffReceive, handoff.Generation, handoff.Index)))
                continue;
            handoff.IsReceiving = false;
            if (handoff.IsClosing)
                FreeHandoff(handoff);
            else
                ArmReceive(handoff);
        }

        foreach (var client in _clients)
        {
            if (client.State != ClientState.Free)
                ArmAgain(client, ended);
        }
    }

    private void ArmAgain(ClientConnection client, HashSet<ulong> ended)
    {
        // A send, a read or a shutdown that was under way is the one that hangs: workers had none.
        var wasWatched = client.IsWatched && WasCut(OperationKind.ClientWatch);
        var waitedToWrite = client.IsSending && client.SendingKind == OperationKind.ClientWritable
            && WasCut(OperationKind.ClientWritable);
        var waitedToRead = client.IsReceiving && client.ReceivingKind == OperationKind.ClientReadable
            && WasCut(OperationKind.ClientReadable);
        client.IsWatched &= !wasWatched;
        client.IsSending &= !waitedToWrite;
        client.IsReceiving &= !waitedToRead;
        if (client.State == ClientState.Closing)
        {
            FinishCloseIfIdle(client);
            return;
        }

        if (wasWatched)
            ArmWatch(client);
        if (waitedToWrite)
            SubmitWritablePoll(client);
        if (waitedToRead)
            SubmitReadablePoll(client);

        bool WasCut(OperationKind kind) =>
            !ended.Contains(OperationId.Pack(kind, client.Generation, client.Index));
    }

    private void TakeReturnedCalls()
    {
        while (_returnedCalls.TryDequeue(out var call))
        {
            // Its slot was not freed meanwhile: the call was in flight.
            OnClientCall(call.Client, call.Kind, call.Result);
        }
    }
}
