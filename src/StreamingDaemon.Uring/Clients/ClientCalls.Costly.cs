using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

// A call that computes for long begins an alert: for a while, all calls are measured. Another thread then
// makes the calls of the clients that were found to be costly. It also makes the calls of a network namespace
// that made no quick call since the loop last met a costly one. So the loop meets one costly call, and not
// one for each socket that is handed over. Outside an alert, only the first calls of a new network are
// measured.
internal sealed unsafe partial class ClientCalls
{
    /// <summary>How long calls are measured after a costly one.</summary>
    private const int MeasuresForMs = 10_000;

    /// <summary>How long the other thread also makes the calls of the network's unproven clients, after the
    /// loop met a costly call there: one turn of the loop may make hundreds of calls.</summary>
    private const int CautiousForMs = 50;

    /// <summary>A worker's call that takes longer computes, or has waited for a lock or a core: the client's
    /// next call is measured.</summary>
    private const int SuspectMs = 10;

    private readonly Networks _networks = new();

    /// <summary>Calls that wait until the other thread is started.</summary>
    private readonly Queue<CostlyCall> _held = new();

    private volatile CostlyCallThread? _costlyThread;
    private volatile bool _measures;
    private volatile bool _hasSuspects;
    private volatile bool _hasNoThread;
    private long _measuresUntilMs;

    /// <summary>Increased when the loop meets a costly call, and when an alert ends. A network's earlier
    /// quick calls then no longer count.</summary>
    private long _alert = 1;

    /// <summary>Does a call wait until the other thread is started? From any thread.</summary>
    private bool LooksCostly => _hasSuspects && _costlyThread is null;

    /// <summary>Measures calls for a while, and has the given thread make the costly ones. From any thread.
    /// </summary>
    /// <param name="thread">Null if the system gives none.</param>
    public void Measure(CostlyCallThread? thread)
    {
        _hasNoThread = thread is null;
        _costlyThread = thread;
        if (thread is not null)
            ExtendMeasuring();
        // The loop may hold calls for the thread.
        _loop.Mailbox.Wake();
    }

    /// <summary>A client begins. The first calls of a network that is not known are measured.</summary>
    public NetworkCost Enter(ClientConnection client)
    {
        var network = _networks.Enter(client.Fd);
        if (!network.IsProven)
            client.Cost = new ClientCost();
        return network;
    }

    /// <summary>A client has ended.</summary>
    public void Leave(NetworkCost network) => _networks.Leave(network);

    /// <summary>Makes the call. By a <see cref="CostlyCallThread"/>.</summary>
    public int Make(CostlyCall call)
    {
        var (client, kind) = (call.Client, call.Kind);
        // Nobody looks at the bytes that are read, so the loop may read others into the same buffer.
        var bytes = BytesOf(client, kind);
        var length = LengthOf(client, kind);
        return (_loop.Options.CostlyCallFault ?? _loop.Options.CallFault) is { } fault
            ? fault(new ClientCall(kind, client.Fd, bytes, length))
            : ClientCall.Make(kind, client.Fd, bytes, length);
    }

    /// <summary>The call has returned. By the <see cref="CostlyCallThread"/>, as its last act for the
    /// call.</summary>
    public void OnCostlyReturned(CostlyCall call, int result, long ns)
    {
        _returned.Enqueue(new ReturnedCall(call.Client, call.Kind, result, ns));
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

    /// <summary>Takes the client's call back, if it waits for a thread and as many hang as may.</summary>
    public void RescueCostly(ClientConnection client)
    {
        if (client.CostlyCall is { } call && _costlyThread?.IsFullFor(call) == true && call.TryTake())
        {
            client.CostlyCall = null;
            MakeElsewhere(client, call.Kind);
        }
    }

    /// <summary>Leaves the call to a <see cref="CostlyCallThread"/>, if it may be costly.</summary>
    private bool TryPostCostly(ClientConnection client, OperationKind kind)
    {
        if (_hasNoThread)
            return false;
        if (client.CostlyCall is not null)
        {
            // The loop would wait for that call: both take the socket's lock.
            SubmitToWorker(client, kind);
            return true;
        }

        if (!MayBeCostly(client))
        {
            // Nothing speaks against it: its calls are no longer measured.
            if (!_measures && client.Cost is { IsClean: true } && client.Network!.IsProven)
                client.Cost = null;
            return false;
        }

        client.Cost ??= NewCost(client);
        var call = new CostlyCall(this, client, kind);
        if (_costlyThread?.IsFullFor(call) == true)
        {
            MakeElsewhere(client, kind);
            return true;
        }

        client.CostlyCall = call;
        if (_costlyThread is { } thread)
        {
            thread.Post(call);
        }
        else
        {
            _held.Enqueue(call);
            _hasSuspects = true;
        }

        return true;
    }

    private bool MayBeCostly(ClientConnection client)
    {
        var (cost, network) = (client.Cost, client.Network!);
        if (cost is { IsAccused: true } || network.IsAccused(_loop.NowMs))
            return true;
        return _measures && (!network.IsProvenIn(_alert)
            || (cost is not { IsProven: true } && network.IsCautious(_loop.NowMs)));
    }

    /// <summary>As many threads hang as may. A kernel's worker makes the call of a client whose calls are
    /// quick. A costly client ends. In a costly network, a client that is not known to be quick ends too: on
    /// workers, such calls would take all cores.</summary>
    private void MakeElsewhere(ClientConnection client, OperationKind kind)
    {
        var cost = client.Cost!;
        var isKnown = cost.IsMeasured ? cost.IsProven : client.Stream!.BytesSent > 0;
        if (cost.IsAccused || (!isKnown && client.Network!.IsAccused(_loop.NowMs)))
            _returned.Enqueue(new ReturnedCall(client, kind, -Errno.Canceled, EndsClient: true));
        else
            SubmitToWorker(client, kind);
    }

    /// <summary>Once a turn: posts the held calls, or makes them if the system gives no thread.</summary>
    private void PostHeld()
    {
        if (_held.Count == 0 || (_costlyThread is null && !_hasNoThread))
            return;
        while (_held.TryDequeue(out var call))
        {
            if (_costlyThread is { } thread)
            {
                thread.Post(call);
            }
            else if (call.TryTake())
            {
                call.Client.CostlyCall = null;
                Make(call.Client, call.Kind);
            }
        }
    }

    private void OnMeasured(ClientConnection client, long ns)
    {
        if (!_measures && ns < NetworkCost.AlarmingNs)
        {
            client.Cost?.WasServed = true;
            client.Network!.AddQuick(_alert);
            return;
        }

        if (!(client.Cost ??= NewCost(client)).Add(ns))
        {
            client.Network!.AddQuick(_alert);
            return;
        }

        var nowMs = LoopContext.ClockMs();
        AddCostly(client.Network!, ns, nowMs);
        client.Network!.BeCautiousUntil(nowMs + CautiousForMs);
        BeginAlert();
    }

    /// <summary>A call computed that was not measured, because its network was quick before. In the site's
    /// own network, <see cref="CostWatch"/> waits for more: a machine's host may have taken the core, which
    /// counts as the thread's time too.</summary>
    private void OnUnexpectedCost(ClientConnection client, long ns)
    {
        if (!ReferenceEquals(client.Network, _networks.LargestTrusted(_loop.NowMs)))
            OnMeasured(client, ns);
    }

    private void AddCostly(NetworkCost network, long ns, long nowMs)
    {
        network.AddCostly(ns, nowMs);
        if (ns >= NetworkCost.AlarmingNs)
            _loop.ExitReleases.Need();
    }

    private void BeginAlert()
    {
        _alert++;
        // The site need not wait behind a call of the network that is to blame.
        _networks.LargestTrusted(_loop.NowMs)?.AddQuick(_alert);
        ExtendMeasuring();
    }

    private void EndAlert()
    {
        _measures = false;
        _alert++;
    }

    private void ExtendMeasuring()
    {
        Volatile.Write(ref _measuresUntilMs, LoopContext.ClockMs() + MeasuresForMs);
        _measures = true;
    }

    /// <summary>A call has returned that another thread made: ends a client that costs too much.</summary>
    private void TakeReturned(in ReturnedCall call)
    {
        var client = call.Client;
        if (client.CostlyCall?.Kind == call.Kind)
            client.CostlyCall = null;
        if (call.Ns >= NetworkCost.CostlyNs)
        {
            if (client.Network is { } network)
                AddCostly(network, call.Ns, _loop.NowMs);
            ExtendMeasuring();
        }
        else if (call.Ns > 0)
        {
            client.Network?.AddQuick(_alert);
        }

        if (call.EndsClient)
            client.EndAsCostly();
        client.OnCall(call.Kind, call.Result);
        if (client.Cost is { } cost && cost.Ns >= _loop.Options.MostCostMs * 1_000_000L)
            client.EndAsCostly();
    }

    private static ClientCost NewCost(ClientConnection client) =>
        new() { WasServed = client.Stream!.BytesSent > 0 };

    private void SuspectWorkersCall(ClientConnection client)
    {
        if (client.Cost is not { } cost || _loop.NowMs - cost.WorkerSinceMs < SuspectMs)
            return;
        cost.Accuse();
        _hasSuspects = true;
    }
}
