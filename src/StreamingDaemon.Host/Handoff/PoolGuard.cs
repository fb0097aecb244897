namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Adds threads to a pool whose threads all block. By itself it adds one or two a second, and every stream
/// would wait for them. Threads that were there from the start would be in each other's way, and in the
/// loop's, whenever there is more to do than cores.
/// </summary>
internal sealed class PoolGuard
{
    private const int More = 8;
    private const int Most = 64;

    /// <summary>Looks in a row at a pool that has work and does none.</summary>
    private const int StuckLooks = 2;

    private long _completed;
    private int _stuck;

    public void Look()
    {
        var completed = ThreadPool.CompletedWorkItemCount;
        if (!IsStuck(ThreadPool.PendingWorkItemCount, completed))
            return;
        ThreadPool.GetMinThreads(out var workers, out var ports);
        if (workers < Most)
            ThreadPool.SetMinThreads(Math.Min(Most, workers + More), ports);
    }

    /// <returns>True where work waits and none was done for two looks.</returns>
    internal bool IsStuck(long pending, long completed)
    {
        _stuck = pending > 0 && completed == _completed ? _stuck + 1 : 0;
        _completed = completed;
        if (_stuck < StuckLooks)
            return false;
        _stuck = 0;
        return true;
    }
}
