namespace StreamingDaemon.Backends;

/// <summary>
/// Brackets the writes that a backend makes one after the other on one thread. Their consumer is woken once,
/// at the end, and finds them together. For batches of some hundred microseconds: nothing is sent before the
/// batch ends, unless the consumer is awake. Batches may nest.
/// </summary>
public interface IWriteBatch
{
    /// <summary>Begins a batch on this thread.</summary>
    void BeginBatch();

    /// <summary>Ends it, on the same thread.</summary>
    void EndBatch();

    /// <summary>Ends it, on the same thread, if work queued on the thread pool is likely to write more. The
    /// consumer is woken after that work.</summary>
    void EndBatchLater();
}
