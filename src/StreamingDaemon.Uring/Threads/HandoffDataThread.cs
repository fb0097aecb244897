namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Reads the data of handoffs that came in a descriptor, and begins their streams. On the handler's thread,
/// every other client would wait while megabytes are copied and parsed. One at a time, so that few of them
/// are in memory twice.
/// </summary>
/// <param name="options">What the server was told.</param>
/// <param name="spares">Take over if the system gives no thread.</param>
internal sealed class HandoffDataThread(HandoffServerOptions options, SpareThreads spares)
    : ReplaceableThread<ClientStream>("handoff data", HungWork.Check, MostHung, options, spares)
{
    /// <summary>Sealed memory is always readable. It may have to come from swap.</summary>
    private const int MostHung = 4;

    /// <summary>Descriptors of data that are in this process at a time. Beyond them, the handoffs are not
    /// received yet.</summary>
    public const int MostHeld = 16;

    private int _held;

    /// <summary>Takes a place for a descriptor of data. From the thread of the loop that accepts.</summary>
    /// <returns>False if all are taken.</returns>
    public bool TryHold()
    {
        if (Volatile.Read(ref _held) >= MostHeld)
            return false;
        Interlocked.Increment(ref _held);
        return true;
    }

    /// <summary>Gives a place back. From any thread.</summary>
    public void GiveBack() => Interlocked.Decrement(ref _held);

    protected override void Process(ClientStream item, Worker worker)
    {
        try
        {
            item.BeginWithData(worker);
        }
        catch (OutOfMemoryException)
        {
            // No memory even to refuse it: its connection is closed; the next one may succeed.
            OutOfMemory.Survive();
            item.EndHandling();
        }
    }
}
