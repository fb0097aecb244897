using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// The thread that checks each new client's socket and begins every call of the handler. Behind the thread
/// pool's queue a new client's head would wait for the tokens of all others.
/// </summary>
/// <param name="options">What the server was told.</param>
internal sealed class HandlerThread(HandoffServerOptions options)
    : ReplaceableThread<ClientStream>("handoffs", HungWork.Check, MostHung, options)
{
    /// <summary>Checks that may hang at a time, each on a thread of its own and each because of somebody who
    /// holds the client's socket. Beyond them sockets are not checked.</summary>
    private const int MostHung = 16;

    protected override void OnStarted() => SchedulingSlice.ShortenForThisThread();

    protected override void Process(ClientStream item, Worker worker)
    {
        try
        {
            item.Begin(worker, mayWait: Hung < MostHung);
        }
        catch (OutOfMemoryException)
        {
            // Not even for its refusal: its connection is closed, and the next one may have more luck.
            OutOfMemory.Survive();
            item.EndHandling();
        }
    }
}
