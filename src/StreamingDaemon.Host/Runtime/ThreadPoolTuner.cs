
namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Looks at the thread pool every few milliseconds, and sets the number of workers that
/// <see cref="ThreadPoolPolicy"/> decides. The pool's hill climbing is off: it optimizes for throughput, and
/// tries more workers every second.
/// </summary>
internal sealed class ThreadPoolTuner : IThreadPoolWorkItem
{
    /// <summary>Fewer work items than this between two looks cannot delay others, unless they block.
    /// </summary>
    private const int FewItems = 16;

    private readonly ThreadPoolPolicy _policy = new(Environment.ProcessorCount, PoolThreads.Wished);
    private bool _begun;
    private bool _probeWaits;
    private long _completed;

    public void Look()
    {
        if (!_begun)
        {
            _begun = true;
            PoolThreads.SetGoal(_policy.Workers);
        }

        var completed = ThreadPool.CompletedWorkItemCount;
        ThreadPool.GetMaxThreads(out var most, out _);
        ThreadPool.GetAvailableThreads(out var available, out _);
        var late = Volatile.Read(ref _probeWaits);
        var pending = ThreadPool.PendingWorkItemCount;
        var reading = new ThreadPoolReading(pending, completed, Busy: most - available, late);
        if (_policy.Look(reading))
            PoolThreads.SetGoal(_policy.Workers);
        PoolThreads.Look(reading.Busy, pending);
        if (!late && completed - _completed >= FewItems)
        {
            Volatile.Write(ref _probeWaits, true);
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }

        _completed = completed;
    }

    void IThreadPoolWorkItem.Execute() => Volatile.Write(ref _probeWaits, false);
}
