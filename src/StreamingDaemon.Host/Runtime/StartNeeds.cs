using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Checks at the start what the runtime needs later. If it were refused then, the runtime would abort the
/// process or hang without a clear message.
/// </summary>
internal static class StartNeeds
{
    /// <summary>With a smaller stack, pool threads fail the runtime's stack check (128 KiB), and the start
    /// waits for ever.</summary>
    private const long LeastStack = 256 * 1024;

    /// <summary>Threads of the runtime and libraries: the pool's gate and timer, signals, sockets, the log.
    /// Their stacks have the size of the limit, and take address space.</summary>
    private const int RuntimeThreads = 6;
    private const int MostWorkers = 4;

    /// <summary>The daemon's threads, with small stacks: deadlines, hang monitor, three spares, releases, odd
    /// releases, handoff data, socket path, signals, reload, last words, mock pauses.</summary>
    private const int OwnThreads = 14;
    private const int SmallStack = 512 * 1024;

    /// <summary>With an HTTP port: Kestrel's timer, and the gate of /health.</summary>
    private const int HttpThreads = 2;

    /// <param name="options">Of the handoff server.</param>
    /// <param name="servesHttp">Whether /metrics and /health, or the demo's page, are served.</param>
    /// <exception cref="HandoffServerException">Something is missing; the message says what, and how to fix
    /// it.</exception>
    public static void Demand(HandoffServerOptions options, bool servesHttp)
    {
        var stack = StartChecks.StackBytes;
        if (stack < LeastStack)
        {
            throw new HandoffServerException(
                $"the stack limit is {stack / 1024} KiB, but the daemon needs {LeastStack / 1024} KiB. Raise "
                + "it: ulimit -s 8192; systemd: LimitSTACK=8M");
        }

        if (!File.Exists("/proc/self/status"))
        {
            throw new HandoffServerException(
                "/proc is not mounted, but the daemon reads its limits from it. Mount it: mount -t proc proc "
                + "/proc");
        }

        DemandThreads(RuntimeThreads + Math.Min(Environment.ProcessorCount, MostWorkers),
            OwnThreads + (2 * Math.Max(1, options.Rings)) + (servesHttp ? HttpThreads : 0));
    }

    /// <summary>Starts this many threads at once and ends them again. If the system refused one to the
    /// runtime later, the runtime would abort the process in the middle of the start.</summary>
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
                $"the system allows {threads.Count} more threads, but the daemon needs {count}. Raise "
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
