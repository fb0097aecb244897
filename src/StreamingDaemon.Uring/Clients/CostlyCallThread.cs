using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

/// <summary>A call on the socket of a client whose calls are costly. It is made once, or cancelled.</summary>
internal sealed class CostlyCall(ClientCalls calls, ClientConnection client, OperationKind kind)
{
    private int _isTaken;

    public ClientConnection Client => client;

    public OperationKind Kind => kind;

    public ClientCalls Calls => calls;

    public ClientCost Cost { get; } = client.Cost!;

    /// <summary>What it may cost: as much as its client's earlier calls did. If none of those was measured,
    /// as much as those of its network did for each client.</summary>
    public long ExpectedNs { get; } =
        client.Cost!.IsMeasured ? client.Cost.SpentNs : client.Network!.SpentNsPerClient;

    /// <summary>Clients of its network. Of two networks that are not known, the one with more clients is
    /// next: it is likely the site's.</summary>
    public int Others { get; } = client.Network!.Clients;

    /// <summary>Takes the right to make it, or to cancel it. From any thread.</summary>
    public bool TryTake() => Interlocked.Exchange(ref _isTaken, 1) == 0;
}

/// <summary>
/// Makes the calls that compute for milliseconds, one at a time, and measures them. On the kernel's workers
/// they would take as many cores as there are such sockets, and all other streams would wait for one. The
/// client that has cost least is next; of two that have cost the same, one that has made a quick call. So a
/// client that was wrongly accused waits for few others. If no call of a client was measured yet, the cost of
/// its network counts. All loops share the thread, which is started when it is first needed.
/// </summary>
/// <param name="options">What the server was told.</param>
/// <param name="spares">Take over if the system gives no thread.</param>
internal sealed class CostlyCallThread(HandoffServerOptions options, SpareThreads spares)
    : ReplaceableThread<PriorityQueue<CostlyCall, CallRank>>(
        "costly calls", HungWork.Check, MostHung, options, spares)
{
    /// <summary>Such a call may also wait for a held lock. While this many threads hang, no call is left to
    /// them: a kernel's worker makes it, or its client ends.</summary>
    private const int MostHung = 64;

    private readonly PriorityQueue<CostlyCall, CallRank> _calls = new();
    private long _number;

    /// <summary>Would a further call wait for others that hang? From any thread.</summary>
    public bool IsFull => IsJammed;

    /// <summary>By a loop.</summary>
    public void Post(CostlyCall call)
    {
        lock (_calls)
            _calls.Enqueue(call, new CallRank(call.ExpectedNs, !call.Cost.IsProven, -call.Others, _number++));
        Post(_calls);
    }

    protected override void Process(
        PriorityQueue<CostlyCall, CallRank> item, Worker worker)
    {
        CostlyCall? call;
        lock (item)
        {
            if (!item.TryDequeue(out call, out _))
                return;
        }

        if (!call.TryTake())
            return;
        worker.BeginCall();
        var begunNs = ThreadTime.OfThisThread();
        var result = call.Calls.Make(call);
        var ns = ThreadTime.OfThisThread() - begunNs;
        call.Cost.Add(ns);
        worker.EndCall();
        call.Calls.OnCostlyReturned(call, result, ns);
    }
}

/// <summary>Orders the calls that wait: the one with the lowest rank is next.</summary>
internal readonly record struct CallRank(long ExpectedNs, bool IsUnknown, int FewerClients, long Number)
    : IComparable<CallRank>
{
    public int CompareTo(CallRank other) => (ExpectedNs, IsUnknown, FewerClients, Number).CompareTo(
        (other.ExpectedNs, other.IsUnknown, other.FewerClients, other.Number));
}
