using System.Net.Sockets;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Makes the runtime's threads at the start, not when they are first needed. If the task limit is reached
/// later, streams still run, time out and drain on these threads.
/// </summary>
internal static class ThreadReserve
{
    /// <summary>Workers of the thread pool. By default an idle worker ends after 20 s, and without workers no
    /// timer fires. Several, because a slow DNS lookup blocks one.</summary>
    private const int Workers = 4;

    /// <exception cref="HandoffServerException">The system refuses a thread.</exception>
    public static void Fill()
    {
        RunWithTimeout.Prepare();
        PoolThreads.Begin(Workers);
        StartSocketEngine();
    }

    /// <summary>Starts the thread that waits in epoll for all sockets. If the system refused it at the first
    /// upstream connection, every later connection would fail too: a static constructor runs only once.
    /// </summary>
    private static void StartSocketEngine()
    {
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            // Nothing ever arrives; disposing the socket ends the receive.
            _ = socket.ReceiveAsync(new byte[1]).ContinueWith(static read => _ = read.Exception,
                CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        }
        catch (TypeInitializationException e) when (!LastWords.IsOfDescriptors(e))
        {
            throw new HandoffServerException(PreparedThread.Refusal(".NET Sockets"));
        }
    }
}
