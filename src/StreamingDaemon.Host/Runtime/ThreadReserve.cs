using System.Net.Sockets;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Makes at the start the threads that the runtime else makes when it first needs them. If the limit of tasks
/// is reached later, streams go on, time out and drain on those there are.
/// </summary>
internal static class ThreadReserve
{
    /// <summary>Of the pool. By default an idle one ends after 20 s, and with none left not even a timer is
    /// noticed. Several: a name that resolves slowly blocks one.</summary>
    private const int Workers = 4;

    /// <exception cref="HandoffServerException">The system gives no thread.</exception>
    public static void Fill()
    {
        RunWithTimeout.Prepare();
        PoolThreads.Begin(Workers);
        StartSocketEngine();
    }

    /// <summary>The thread that waits in epoll for all sockets. If it is first needed for a connection to the
    /// model and refused, every later connection fails too: a static constructor is not run twice.</summary>
    private static void StartSocketEngine()
    {
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            // Nothing ever comes; the end of the socket ends it.
            _ = socket.ReceiveAsync(new byte[1]).ContinueWith(static read => _ = read.Exception,
                CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        }
        catch (TypeInitializationException e) when (!LastWords.IsOfDescriptors(e))
        {
            throw new HandoffServerException(PreparedThread.Refusal(".NET Sockets"));
        }
    }
}
