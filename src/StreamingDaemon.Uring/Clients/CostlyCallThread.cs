using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

/// <summary>A call on a client's socket that is or may be costly. It is made once, or cancelled.</summary>
internal sealed class CostlyCall
{
    /// <summary>For so long after a call that computed, clients of the same network count as quick only if
    /// one of their own calls was measured to be quick.</summary>
    private const int BlamedForMs = 1_000;

    private int _isTaken;

    public CostlyCall(ClientCalls calls, ClientConnection client, OperationKind kind)
    {
        (Calls, Client, Kind) = (calls, client, kind);
        (Cost, Network) = (client.Cost!, client.Network!);
        Others = Network.Clients;
        IsKnown = Cost.IsProven || Cost.WasServed;
        ExpectedNs = Cost.IsMeasured ? Cost.SpentNs
            : IsKnown ? Math.Min(NetworkCost.CostlyNs, Network.SpentNsPerClient)
            : Math.Max(NetworkCost.CostlyNs, Network.SpentNsPerClient);
        IsQuick = IsKnown && Cost.IsMostlyQuick && (Cost.IsProven || !IsBlamed);
    }

    public ClientCalls Calls { get; }

    public ClientConnection Client { get; }

    public OperationKind Kind { get; }

    public ClientCost Cost { get; }

    public NetworkCost Network { get; }

    /// <summary>What it may cost: as much as its client's earlier calls did. If none was measured, the
    /// average of its network's clients counts. Limits on that average put clients that were already sent
    /// something before those that were not.</summary>
    public long ExpectedNs { get; }

    /// <summary>Clients of its network. Of two networks that are not known, the one with more clients is
    /// next: it is likely the site's.</summary>
    public int Others { get; }

    /// <summary>One of its client's calls was quick, or the client was sent something before its calls were
    /// suspected.</summary>
    public bool IsKnown { get; }

    /// <summary>Its client's calls were quick, so it does not wait behind costly ones.</summary>
    public bool IsQuick { get; private set; }

    private bool IsBlamed => Network.WasBlamedSince(LoopContext.ClockMs() - BlamedForMs);

    /// <summary>If no call of its client was measured to be quick, and one of its network has computed
    /// meanwhile, it no longer counts as quick. By the thread of quick calls.</summary>
    /// <returns>True if it no longer counts as quick.</returns>
    public bool TryDemote()
    {
        if (Cost.IsProven || !IsBlamed)
            return false;
        IsQuick = false;
        return true;
    }

    /// <summary>Takes the right to make it, or to cancel it. From any thread.</summary>
    public bool TryTake() => Interlocked.Exchange(ref _isTaken, 1) == 0;
}

/// <summary>
/// Makes the calls that compute for milliseconds, one at a time, and measures them. On the kernel's workers
/// they would take as many cores as there are such sockets, and all other streams would wait for one. The
/// client that has cost least is next. Of two that have cost the same, one whose calls are known is next
/// (<see cref="CostlyCall.IsKnown"/>). So a client that was wrongly accused waits for few others. If no call
/// of a client was measured yet, the cost of its network counts.
/// </summary>
/// <remarks>
/// A single call may compute for seconds, and nothing interrupts it. So there are two such threads, shared by
/// all loops and started when the first costly call is found. One makes the calls of clients whose own calls
/// were quick. The other makes the rest.
/// </remarks>
/// <param name="slow">Gets the calls that are not known to be quick; null if this thread makes every call
/// that it is given.</param>
/// <param name="options">What the server was told.</param>
/// <param name="spares">Take over if the system gives no thread.</param>
internal sealed class CostlyCallThread(
    CostlyCallThread? slow, HandoffServerOptions options, SpareThreads spares)
    : ReplaceableThread<PriorityQueue<CostlyCall, CallRank>>(
        slow is null ? "costly calls" : "quick calls", HungWork.Check, MostHung, options, spares)
{
    /// <summary>Such a call may also wait for a held lock. While this many threads hang, no call is left to
    /// them: a kernel's worker makes it, or its client ends.</summary>
    private const int MostHung = 64;

    private readonly PriorityQueue<CostlyCall, CallRank> _calls = new();
    private long _number;

    /// <summary>Do as many threads hang as may, of those that would make the call? From any thread.</summary>
    public bool IsFullFor(CostlyCall call) =>
        slow is not null && !call.IsQuick ? slow.IsFullFor(call) : IsJammed;

    /// <summary>By a loop.</summary>
    public void Post(CostlyCall call)
    {
        if (slow is not null && !call.IsQuick)
        {
            slow.Post(call);
            return;
        }

        // Among quick calls, those of clients with a measured quick call come first.
        var isProvenQuick = slow is not null && call.Cost.IsProven;
        var expectedNs = isProvenQuick ? 0 : call.ExpectedNs;
        var isUnknown = slow is null ? !call.IsKnown : !isProvenQuick;
        lock (_calls)
            _calls.Enqueue(call, new CallRank(expectedNs, isUnknown, -call.Others, _number++));
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

        if (slow is not null && call.TryDemote())
        {
            slow.Post(call);
            return;
        }

        if (!call.TryTake())
            return;
        worker.BeginCall();
        var begunNs = ThreadTime.OfThisThread();
        var result = call.Calls.Make(call);
        var ns = ThreadTime.OfThisThread() - begunNs;
        call.Cost.Add(ns);
        if (ns >= NetworkCost.AlarmingNs)
            call.Network.Blame(LoopContext.ClockMs());
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
