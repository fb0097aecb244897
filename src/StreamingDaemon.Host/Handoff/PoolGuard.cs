namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Gives the thread pool the workers that <see cref="WorkerPolicy"/> says, from looks a few milliseconds
/// apart. The pool's own search for their number (hill climbing) is off: it has throughput in mind, and tries
/// more of them every second.
/// </summary>
internal sealed class PoolGuard : IThreadPoolWorkItem
{
    /// <summary>So little work between two looks cannot make any late, unless by blocking.</summary>
    private const int FewItems = 16;

    /// <summary>Whoever set another number of threads than the runtime does has their reasons. Asked once:
    /// later it is ours.</summary>
    private static readonly int Least = MinWorkers() == Environment.ProcessorCount ? 1 : MinWorkers();

    private readonly WorkerPolicy _policy = new(Environment.ProcessorCount, Least);
    private bool _begun;
    private bool _probeWaits;
    private long _completed;

    public void Look()
    {
        if (!_begun)
        {
            _begun = true;
            Limit(_policy.Workers);
        }

        var completed = ThreadPool.CompletedWorkItemCount;
        ThreadPool.GetMaxThreads(out var most, out _);
        ThreadPool.GetAvailableThreads(out var available, out _);
        var late = Volatile.Read(ref _probeWaits);
        var pending = ThreadPool.PendingWorkItemCount;
        var reading = new PoolReading(pending, completed, Busy: most - available, late);
        if (_policy.Look(reading))
            Limit(_policy.Workers);
        if (!late && completed - _completed >= FewItems)
        {
            Volatile.Write(ref _probeWaits, true);
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }

        _completed = completed;
    }

    void IThreadPoolWorkItem.Execute() => Volatile.Write(ref _probeWaits, false);

    /// <summary>The pool's goal, not its limit: whatever blocks may still be given more by the runtime. A
    /// goal comes down with a limit, and does not go up with it.</summary>
    private static void Limit(int workers)
    {
        ThreadPool.GetMinThreads(out _, out var minPorts);
        ThreadPool.GetMaxThreads(out var most, out var maxPorts);
        ThreadPool.SetMinThreads(workers, minPorts);
        ThreadPool.SetMaxThreads(workers, maxPorts);
        ThreadPool.SetMaxThreads(most, maxPorts);
    }

    private static int MinWorkers()
    {
        ThreadPool.GetMinThreads(out var workers, out _);
        return workers;
    }
}
