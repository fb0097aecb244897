using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// The thread that checks each new client's socket and begins every call of the handler. In the thread pool's
/// queue, a new client's head would wait behind the tokens of all others.
/// </summary>
/// <remarks>
/// A check can compute for long: it sends what the holder of the socket left in it (TCP_CORK), and each
/// packet may pass thousands of filters. If the checks of a network namespace do so, a second thread makes
/// them.
/// </remarks>
/// <param name="options">What the server was told.</param>
/// <param name="spares">Take over if the system gives no thread.</param>
/// <param name="costs">What checks have cost; the second thread shares them.</param>
/// <param name="monitor">Watches the second thread too; null if this is the second thread.</param>
internal sealed class HandlerThread(
    HandoffServerOptions options, SpareThreads spares, CheckCosts costs, HangMonitor? monitor)
    : ReplaceableThread<ClientStream>(
        monitor is null ? "costly handoffs" : "handoffs", HungWork.Check, MostHung, options, spares)
{
    /// <summary>Checks that may hang at a time, each on its own thread, and each because another process
    /// holds the client's socket. Beyond them sockets are not checked.</summary>
    private const int MostHung = 16;

    private readonly HandoffServerOptions _serverOptions = options;
    private readonly SpareThreads _spareThreads = spares;
    private volatile HandlerThread? _costly;

    /// <summary>Threads left behind by this thread and by the second one. From any thread.</summary>
    public HungThreads AllHungThreads => HungThreads + (_costly?.HungThreads ?? default);

    protected override void OnStarted()
    {
        if (monitor is null)
            SchedulingSlice.YieldToOthers();
        else
            SchedulingSlice.ShortenForThisThread();
    }

    protected override void OnEnded() => _costly?.End();

    protected override void Process(ClientStream item, Worker worker)
    {
        // 0 if the kernel has no cookies.
        var network = item.Network?.Cookie ?? 0;
        if (monitor is not null && costs.MayBeCostly(network) && TryPassOn(item))
            return;
        var ns = 0L;
        WakeBatch.Begin();
        try
        {
            ns = item.Begin(worker, mayWait: Hung < MostHung);
        }
        catch (OutOfMemoryException)
        {
            // No memory even to refuse it: its connection is closed; the next one may succeed.
            OutOfMemory.Survive();
            item.EndHandling();
        }
        finally
        {
            // An answer that is there at once leaves whole: head, events, end.
            WakeBatch.End();
        }

        if (ns > 0)
            costs.Add(network, ns);
    }

    /// <returns>False if the system gives no second thread.</returns>
    private bool TryPassOn(ClientStream item)
    {
        try
        {
            if (_costly is null)
            {
                _costly = new HandlerThread(_serverOptions, _spareThreads, costs, null);
                monitor!.Add(_costly);
            }

            _costly.Post(item);
            return true;
        }
        catch (Exception e) when (e is HandoffServerException or OutOfMemoryException)
        {
            return false;
        }
    }
}
