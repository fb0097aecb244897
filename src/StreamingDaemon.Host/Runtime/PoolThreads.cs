using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Prevents the thread pool from asking the system for a thread that it would refuse: the runtime would then
/// end the process (PortableThreadPool does not catch it). So the pool's maximum is the number of workers it
/// already has. These never end (System.Threading.ThreadPool.ThreadsToKeepAlive in the project file). The
/// maximum goes up only after the system has shown that it gives that many threads and one more. One thread
/// at a time may call this class.
/// </summary>
internal static class PoolThreads
{
    /// <summary>If the pool has not made an allowed worker within this time, it does not need one.</summary>
    private const long MadeWithinMs = 500;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private static int s_most;
    private static long s_raisedMs;

    /// <summary>The minimum number of workers, if it was configured for the runtime; else 1.</summary>
    public static int Wished { get; } = ReadWished();

    /// <summary>For tests: returns false to play a system that refuses a thread.</summary>
    internal static Func<bool>? MayStartThread { get; set; }

    /// <summary>Makes this many workers, and limits the pool to them.</summary>
    /// <exception cref="HandoffServerException">The system refuses the threads.</exception>
    public static void Begin(int workers)
    {
        workers = Math.Max(workers, Wished);
        // One more: the pool's gate thread starts with the first work item.
        if (!Probe(workers + 1))
            throw new HandoffServerException(PreparedThread.Refusal(".NET TP Worker"));
        SetGoal(workers, workers);
        // Not disposed: a late worker may still signal it.
        var all = new CountdownEvent(workers);
        for (var i = 0; i < workers; i++)
        {
            ThreadPool.UnsafeQueueUserWorkItem(static all =>
            {
                all.Signal();
                all.Wait(s_patience);
            }, all, preferLocal: false);
        }

        // On an overloaded machine, the last worker may start later than this.
        all.Wait(s_patience);
        s_most = workers;
    }

    /// <summary>Lets the pool run this many workers. If the system refuses more threads, it runs as many as
    /// it has.</summary>
    public static void SetGoal(int workers)
    {
        if (s_most == 0)
        {
            ThreadPool.GetMaxThreads(out var most, out _);
            SetGoal(workers, most);
            return;
        }

        if (workers > s_most)
            Raise(workers - s_most);
        SetGoal(Math.Min(workers, s_most), s_most);
    }

    /// <summary>Adapts the maximum. Called every few milliseconds.</summary>
    /// <param name="busy">Workers that run a work item, or block in one.</param>
    /// <param name="pending">Work items that wait.</param>
    public static void Look(int busy, long pending)
    {
        if (s_most == 0 || Environment.TickCount64 - s_raisedMs < MadeWithinMs)
            return;
        // All workers are busy: allow one more each half second, as the runtime does by itself.
        var before = s_most;
        if (busy >= s_most && pending > 0)
            Raise(1);
        else
            s_most = Math.Min(s_most, Math.Max(1, ThreadPool.ThreadCount));
        if (s_most == before)
            return;
        ThreadPool.GetMinThreads(out var least, out var ports);
        ThreadPool.SetMinThreads(Math.Min(least, s_most), ports);
        ThreadPool.GetMaxThreads(out _, out ports);
        ThreadPool.SetMaxThreads(s_most, ports);
    }

    /// <summary>For tests: gives the pool back its defaults.</summary>
    internal static void End()
    {
        s_most = 0;
        ThreadPool.GetMaxThreads(out _, out var ports);
        ThreadPool.SetMaxThreads(short.MaxValue, ports);
        ThreadPool.GetMinThreads(out _, out ports);
        ThreadPool.SetMinThreads(Environment.ProcessorCount, ports);
    }

    private static void Raise(int more)
    {
        s_raisedMs = Environment.TickCount64;
        if (Probe(more + 1))
            s_most += more;
    }

    /// <summary>Lowering the maximum lowers the pool's goal, but raising it does not raise the goal. So the
    /// goal is set with minimum and maximum together.</summary>
    private static void SetGoal(int workers, int most)
    {
        ThreadPool.GetMinThreads(out _, out var minPorts);
        ThreadPool.GetMaxThreads(out _, out var maxPorts);
        // In this order, because the minimum may never be above the maximum.
        ThreadPool.SetMaxThreads(Math.Max(workers, most), maxPorts);
        ThreadPool.SetMinThreads(workers, minPorts);
        ThreadPool.SetMaxThreads(workers, maxPorts);
        ThreadPool.SetMaxThreads(most, maxPorts);
    }

    /// <summary>Tries whether the system gives this many threads at once. The threads end again.</summary>
    private static bool Probe(int threads)
    {
        using var end = new ManualResetEventSlim();
        var made = new List<Thread>();
        try
        {
            while (made.Count < threads)
            {
                if (MayStartThread?.Invoke() == false)
                    return false;
                var thread = new Thread(end.Wait, 128 * 1024) { Name = "probe", IsBackground = true };
                thread.UnsafeStart();
                made.Add(thread);
            }

            return true;
        }
        catch (Exception e) when (e is OutOfMemoryException or ThreadStartException)
        {
            return false;
        }
        finally
        {
            end.Set();
            made.ForEach(thread => thread.Join());
        }
    }

    private static int ReadWished()
    {
        ThreadPool.GetMinThreads(out var workers, out _);
        return workers == Environment.ProcessorCount ? 1 : workers;
    }
}
