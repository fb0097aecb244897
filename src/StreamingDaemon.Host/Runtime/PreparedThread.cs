using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>Threads that the daemon starts early, because the system may refuse one later.</summary>
internal static class PreparedThread
{
    private const int StackBytes = 512 * 1024;

    private const string Fix = "Raise its limit of tasks: TasksMax= of the unit, the container's limit of "
        + "pids, or ulimit -u; or give it memory";

    /// <exception cref="HandoffServerException">The system refuses a thread; the message says what to do.
    /// </exception>
    public static void Start(string name, ThreadStart run, int stackBytes = StackBytes)
    {
        if (!TryStart(name, run, stackBytes))
            throw new HandoffServerException(Refusal(name));
    }

    /// <summary>The error message if the system refuses a thread, with what to do.</summary>
    public static string Refusal(string name) => $"the system refuses the thread \"{name}\". {Fix}";

    /// <returns>False if the system refuses a thread.</returns>
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
