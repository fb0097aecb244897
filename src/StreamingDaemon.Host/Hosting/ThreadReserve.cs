using System.Net.Sockets;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Makes at the start the threads that the runtime else makes when it first needs them. If the limit of tasks
/// is reached later, streams go on, time out and drain on those there are.
/// </summary>
internal static class ThreadReserve
{
    /// <summary>Workers of the pool, as many as the runtime keeps alive
    /// (System.Threading.ThreadPool.ThreadsToKeepAlive in the project file). By default an idle worker ends
    /// after 20 s, and with no worker left not even a timer is noticed. Several: a name that resolves slowly
    /// blocks one.</summary>
    private const int Workers = 4;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    /// <exception cref="Uring.HandoffServerException">The system gives no thread.</exception>
    /// <exception cref="OutOfMemoryException">The same, said by the runtime.</exception>
    public static void Fill()
    {
        Bounded.Prepare();
        StartWorkers();
        StartSocketEngine();
    }

    /// <summary>The pool's own manager thread begins with its first work item.</summary>
    private static void StartWorkers()
    {
        ThreadPool.GetMinThreads(out var least, out var ports);
        ThreadPool.SetMinThreads(Math.Max(least, Workers), ports);
        // Not disposed: a late worker may still signal it.
        var all = new CountdownEvent(Workers);
        for (var i = 0; i < Workers; i++)
        {
            ThreadPool.UnsafeQueueUserWorkItem(static all =>
            {
                all.Signal();
                all.Wait(s_patience);
            }, all, preferLocal: false);
        }

        // Fewer of them are enough to start with.
        all.Wait(s_patience);
        ThreadPool.SetMinThreads(least, ports);
    }

    /// <summary>The thread that waits in epoll for all sockets. If it is first needed for a connection to the
    /// model and refused, every later connection fails too: a static constructor is not run twice.</summary>
    private static void StartSocketEngine()
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        // Nothing ever comes; the end of the socket ends it.
        _ = socket.ReceiveAsync(new byte[1]).ContinueWith(static read => _ = read.Exception,
            TaskContinuationOptions.OnlyOnFaulted);
    }
}
