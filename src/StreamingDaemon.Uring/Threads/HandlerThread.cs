using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// The thread that checks each new client's socket and begins every call of the handler. In the thread pool's
/// queue, a new client's head would wait behind the tokens of all others.
/// </summary>
/// <param name="options">What the server was told.</param>
/// <param name="spares">Take over if the system gives no thread.</param>
internal sealed class HandlerThread(HandoffServerOptions options, SpareThreads spares)
    : ReplaceableThread<ClientStream>("handoffs", HungWork.Check, MostHung, options, spares)
{
    /// <summary>Checks that may hang at a time, each on its own thread, and each because another process
    /// holds the client's socket. Beyond them sockets are not checked.</summary>
    private const int MostHung = 16;

    protected override void OnStarted() => SchedulingSlice.ShortenForThisThread();

    protected override void Process(ClientStream item, Worker worker)
    {
        WakeBatch.Begin();
        try
        {
            item.Begin(worker, mayWait: Hung < MostHung);
        }
        catch (OutOfMemoryException)
        {
            // No memory even to refuse it: its connection is closed; the next one may succeed.
            OutOfMemory.Survive();
            item.EndHandling();
        }
        finally
        {
            // An answer that is there at once leaves whole: head, events, end.
            WakeBatch.End();
        }
    }
}
