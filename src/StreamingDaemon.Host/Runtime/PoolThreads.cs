using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Keeps the thread pool from asking the system for a thread that it may not get: the runtime then ends the
/// process (PortableThreadPool catches nothing). The pool's limit is the number of the workers it has, which
/// never end (System.Threading.ThreadPool.ThreadsToKeepAlive in the project file). Before the limit goes up,
/// the system must give as many threads and one more. One thread at a time.
/// </summary>
internal static class PoolThreads
{
    /// <summary>A worker that was allowed and has not been made by then is not needed.</summary>
    private const long MadeWithinMs = 500;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private static int s_most;
    private static long s_raisedMs;

    /// <summary>Somebody's wish for another number of workers than the runtime's default, or 1.</summary>
    public static int Wished { get; } = ReadWished();

    /// <summary>False if the system is to give no thread, for tests.</summary>
    internal static Func<bool>? MayStartThread { get; set; }

    /// <summary>Makes this many workers.</summary>
    /// <exception cref="HandoffServerException">The system does not give the threads.</exception>
    public static void Begin(int workers)
    {
        workers = Math.Max(workers, Wished);
        // The pool has a thread of its own, which begins with its first work item.
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

        // On a machine with too much to do, the last may come later.
        all.Wait(s_patience);
        s_most = workers;
    }

    /// <summary>Lets the pool have so many workers at work, or as many as it has if the system gives no more.
    /// </summary>
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

    /// <summary>By who looks after the pool, every few milliseconds.</summary>
    /// <param name="busy">Workers that run a work item, or block in one.</param>
    /// <param name="pending">Work items that wait.</param>
    public static void Look(int busy, long pending)
    {
        if (s_most == 0 || Environment.TickCount64 - s_raisedMs < MadeWithinMs)
            return;
        // All block: one more in half a second, as the runtime does by itself.
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

    /// <summary>The pool is the runtime's again, for tests.</summary>
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

    /// <summary>A goal comes down with the limit, and does not go up with it.</summary>
    private static void SetGoal(int workers, int most)
    {
        ThreadPool.GetMinThreads(out _, out var minPorts);
        ThreadPool.GetMaxThreads(out _, out var maxPorts);
        // Neither may pass the other, wherever they were.
        ThreadPool.SetMaxThreads(Math.Max(workers, most), maxPorts);
        ThreadPool.SetMinThreads(workers, minPorts);
        ThreadPool.SetMaxThreads(workers, maxPorts);
        ThreadPool.SetMaxThreads(most, maxPorts);
    }

    /// <summary>Does the system give so many threads at once? They end again.</summary>
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
