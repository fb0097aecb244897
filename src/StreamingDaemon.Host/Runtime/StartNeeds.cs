using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// What the runtime needs, and ends the process or hangs if it is refused: looked at before it is needed, so
/// that a start can say so.
/// </summary>
internal static class StartNeeds
{
    /// <summary>With less a thread of the pool does not pass the runtime's own check of its stack (128 KiB),
    /// and the start waits for ever.</summary>
    private const long LeastStack = 256 * 1024;

    /// <summary>The runtime's: gate and timer of the pool, signals, sockets, the log's, Kestrel's timer.
    /// Their stacks have the size of the limit, and take address space.</summary>
    private const int RuntimeThreads = 6;
    private const int MostWorkers = 4;

    /// <summary>Deadlines, hang monitor, releases, odd releases, signals, reload, last words, mock pauses,
    /// probe gate: their stacks are small.</summary>
    private const int OwnThreads = 9;
    private const int SmallStack = 512 * 1024;

    /// <exception cref="HandoffServerException">One is not there; the message says which, and what mends
    /// it.</exception>
    public static void Demand(HandoffServerOptions options)
    {
        var stack = StartChecks.StackBytes;
        if (stack < LeastStack)
        {
            throw new HandoffServerException(
                $"the limit of a stack is {stack / 1024} KiB, and the least is {LeastStack / 1024}. Raise "
                + "it: ulimit -s 8192; systemd: LimitSTACK=8M");
        }

        if (!File.Exists("/proc/self/status"))
        {
            throw new HandoffServerException(
                "/proc is not there, which the daemon reads its limits from. Mount it: mount -t proc proc "
                + "/proc");
        }

        DemandThreads(RuntimeThreads + Math.Min(Environment.ProcessorCount, MostWorkers),
            OwnThreads + (2 * Math.Max(1, options.Rings)));
    }

    /// <summary>Starts as many threads at once and lets them end: for want of some of its own the runtime
    /// would abort the process in the middle of the start.</summary>
    private static void DemandThreads(int large, int small)
    {
        var count = large + small;
        using var release = new ManualResetEvent(false);
        var threads = new List<Thread>(count);
        try
        {
            while (threads.Count < count)
            {
                var stack = threads.Count < large ? 0 : SmallStack;
                var thread = new Thread(() => release.WaitOne(), stack) { IsBackground = true };
                thread.UnsafeStart();
                threads.Add(thread);
            }
        }
        catch (Exception e) when (e is OutOfMemoryException or ThreadStartException)
        {
            throw new HandoffServerException(
                $"the system gives this process {threads.Count} more threads, and it needs {count}. Raise "
                + "its limit of tasks: TasksMax= of the unit, the container's limit of pids, or ulimit -u; "
                + "or give it memory: the container's limit, or ulimit -v");
        }
        finally
        {
            release.Set();
            threads.ForEach(t => t.Join());
        }
    }
}
