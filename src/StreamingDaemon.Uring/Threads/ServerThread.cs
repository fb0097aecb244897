namespace StreamingDaemon.Uring.Threads;

/// <summary>A thread that a server needs for its whole life, and cannot start without.</summary>
internal static class ServerThread
{
    private const int StackBytes = 512 * 1024;

    /// <exception cref="HandoffServerException">The system refuses another thread; the message says how to
    /// fix it.</exception>
    public static void Start(string name, ThreadStart run, HandoffServerOptions options)
    {
        try
        {
            if (options.MayStartThread?.Invoke(name) == false)
                throw new InsufficientMemoryException();
            new Thread(run, StackBytes) { Name = name, IsBackground = true }.UnsafeStart();
        }
        catch (Exception e) when (e is OutOfMemoryException or ThreadStartException)
        {
            // pthread_create: EAGAIN. The runtime reports it as out of memory, which it rarely is.
            throw new HandoffServerException(
                $"the system refuses the thread \"{name}\". Raise its limit of tasks: TasksMax= of the "
                + "unit, the container's limit of pids, or ulimit -u; or give it memory");
        }
    }
}
