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

    /// <summary>Takes the right to make it, or to cancel it. From any thread.</summary>
    public bool TryTake() => Interlocked.Exchange(ref _isTaken, 1) == 0;
}

/// <summary>
/// Makes the calls that compute for milliseconds, one at a time, and measures them. On the kernel's workers
/// they would take as many cores as there are such sockets, and all other streams would wait for one. The
/// client that has cost least is next; of two that have cost the same, one that has made a quick call. So a
/// client that was wrongly accused waits for few others. All loops share the thread, which is started when it
/// is first needed.
/// </summary>
/// <param name="options">What the server was told.</param>
/// <param name="spares">Take over if the system gives no thread.</param>
internal sealed class CostlyCallThread(HandoffServerOptions options, SpareThreads spares)
    : ReplaceableThread<PriorityQueue<CostlyCall, (long SpentNs, bool IsUnknown, long Number)>>(
        "costly calls", HungWork.Check, MostHung, options, spares)
{
    /// <summary>Such a call may also wait for a held lock. While as many threads as this hang, the loop makes
    /// the calls itself, as for any other client.</summary>
    private const int MostHung = 64;

    private readonly PriorityQueue<CostlyCall, (long SpentNs, bool IsUnknown, long Number)> _calls = new();
    private long _number;

    /// <summary>Would a further call wait for others that hang? From any thread.</summary>
    public bool IsFull => IsJammed;

    /// <summary>By a loop.</summary>
    public void Post(CostlyCall call)
    {
        lock (_calls)
            _calls.Enqueue(call, (call.Cost.SpentNs, !call.Cost.IsProven, _number++));
        Post(_calls);
    }

    protected override void Process(
        PriorityQueue<CostlyCall, (long SpentNs, bool IsUnknown, long Number)> item, Worker worker)
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
        call.Cost.Add(ThreadTime.OfThisThread() - begunNs);
        worker.EndCall();
        call.Calls.OnCostlyReturned(call, result);
    }
}
