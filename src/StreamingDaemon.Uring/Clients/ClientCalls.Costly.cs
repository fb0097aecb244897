using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring.Clients;

// Once some calls compute for long, all calls are measured for a while, and another thread makes those of the
// clients that were found.
internal sealed unsafe partial class ClientCalls
{
    /// <summary>How long calls are measured after a costly one.</summary>
    private const int MeasuresForMs = 10_000;

    /// <summary>How long after a costly call the other thread also makes the calls of clients that are not
    /// known yet: the next may be as costly, and one turn of the loop may make hundreds.</summary>
    private const int CautiousForMs = 50;

    /// <summary>A worker's call that takes longer computes, or has waited for a lock or a core: the client's
    /// next call is measured.</summary>
    private const int SuspectMs = 10;

    private volatile CostlyCallThread? _costlyThread;
    private volatile bool _measures;
    private volatile bool _hasSuspects;
    private long _measuresUntilMs;
    private long _cautiousUntilMs;

    /// <summary>Is a client suspected while no thread can measure its calls yet? From any thread.</summary>
    private bool LooksCostly => _hasSuspects && _costlyThread is null;

    /// <summary>Measures calls for a while, and has the given thread make the costly ones. From any thread.
    /// </summary>
    public void Measure(CostlyCallThread thread)
    {
        _costlyThread = thread;
        ExtendMeasuring();
    }

    /// <summary>Makes the call. By the thread of costly calls.</summary>
    public int Make(CostlyCall call)
    {
        var (client, kind) = (call.Client, call.Kind);
        // Nobody looks at the bytes that are read, so the loop may read others into the same buffer.
        var bytes = BytesOf(client, kind);
        var length = LengthOf(client, kind);
        return _loop.Options.CostlyCallFault is { } fault
            ? fault(new ClientCall(kind, client.Fd, bytes, length))
            : ClientCall.Make(kind, client.Fd, bytes, length);
    }

    /// <summary>The call has returned. By the thread of costly calls, as its last act for the call.</summary>
    public void OnCostlyReturned(CostlyCall call, int result)
    {
        _returned.Enqueue(new ReturnedCall(call.Client, call.Kind, result));
        _loop.Mailbox.Wake();
    }

    /// <summary>The client ends: its call, if it still waits for its turn, is not made.</summary>
    /// <returns>False if another thread makes it just now.</returns>
    public bool TryCancelCostly(ClientConnection client)
    {
        if (client.CostlyCall is not { } call)
            return true;
        if (!call.TryTake())
            return false;
        _returned.Enqueue(new ReturnedCall(client, call.Kind, -Errno.Canceled));
        return true;
    }

    /// <summary>Leaves the call to the thread of costly calls, if the client is known or suspected to be
    /// costly.</summary>
    private bool TryPostCostly(ClientConnection client, OperationKind kind)
    {
        if (_costlyThread is not { IsFull: false } thread || client.CostlyCall is not null)
            return false;
        if (client.Cost is not { IsAccused: true })
        {
            var isKnown = client.Cost is { IsProven: true };
            if (isKnown || !_measures || _loop.NowMs >= _cautiousUntilMs)
                return false;
            client.Cost ??= new ClientCost();
        }

        client.CostlyCall = new CostlyCall(this, client, kind);
        thread.Post(client.CostlyCall);
        return true;
    }

    private void OnMeasured(ClientConnection client, long ns)
    {
        if ((client.Cost ??= new ClientCost()).Add(ns))
            OnCostlyCall();
    }

    private void OnCostlyCall()
    {
        _cautiousUntilMs = LoopContext.ClockMs() + CautiousForMs;
        ExtendMeasuring();
    }

    private void ExtendMeasuring()
    {
        Volatile.Write(ref _measuresUntilMs, LoopContext.ClockMs() + MeasuresForMs);
        if (_costlyThread is not null)
            _measures = true;
    }

    /// <summary>A call has returned that another thread made: ends a client that costs too much.</summary>
    private void TakeReturned(in ReturnedCall call)
    {
        var client = call.Client;
        if (client.CostlyCall?.Kind == call.Kind)
            client.CostlyCall = null;
        // While there are costly calls, the first one of a new client has to be found too.
        if (client.Cost is { IsAccused: true })
            ExtendMeasuring();
        client.OnCall(call.Kind, call.Result);
        if (client.Cost is { } cost && cost.Ns >= _loop.Options.MostCostMs * 1_000_000L)
            client.EndAsCostly();
    }

    private void SuspectWorkersCall(ClientConnection client)
    {
        var cost = client.Cost!;
        if (_loop.NowMs - cost.WorkerSinceMs < SuspectMs)
            return;
        cost.Accuse();
        _hasSuspects = true;
    }
}
