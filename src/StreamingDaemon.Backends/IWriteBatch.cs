namespace StreamingDaemon.Backends;

/// <summary>
/// Brackets what a backend writes to its sinks one after the other, on one thread: what takes the events on
/// is woken once, at the end, and finds them together. For bursts of some hundred microseconds: nothing of
/// one is sent before its end, unless what takes it on is awake. They may nest.
/// </summary>
public interface IWriteBatch
{
    /// <summary>Begins a burst on this thread.</summary>
    void BeginBatch();

    /// <summary>Ends it, on the same thread.</summary>
    void EndBatch();

    /// <summary>Ends it, on the same thread, where more is likely to follow from what the thread pool has
    /// queued: what takes the events on is woken after that.</summary>
    void EndBatchLater();
}
