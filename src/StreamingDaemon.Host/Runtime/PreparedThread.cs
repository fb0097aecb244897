using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>A thread that the daemon makes at the start, because the system may give none later.</summary>
internal static class PreparedThread
{
    private const int StackBytes = 512 * 1024;

    private const string Cure = "Raise its limit of tasks: TasksMax= of the unit, the container's limit of "
        + "pids, or ulimit -u; or give it memory";

    /// <exception cref="HandoffServerException">The system gives no thread; the message says what to do.
    /// </exception>
    public static void Start(string name, ThreadStart run, int stackBytes = StackBytes)
    {
        if (!TryStart(name, run, stackBytes))
            throw new HandoffServerException(Refusal(name));
    }

    /// <summary>What is wrong if the system gives no thread, and what to do.</summary>
    public static string Refusal(string name) => $"the system refuses the thread \"{name}\". {Cure}";

    /// <returns>False if the system gives no thread.</returns>
    public static bool TryStart(string name, ThreadStart run, int stackBytes = StackBytes)
    {
        try
        {
            new Thread(run, stackBytes) { Name = name, IsBackground = true }.UnsafeStart();
            return true;
        }
        catch (Exception e) when (e is OutOfMemoryException or ThreadStartException)
        {
            // pthread_create(3) failed with EAGAIN, which the runtime reports as a lack of memory.
            return false;
        }
    }
}
