namespace StreamingDaemon.Backends;

/// <summary>
/// Brackets what a backend writes to many sinks one after the other, on one thread: what takes the events on
/// is woken once, at the end, and finds them together. For bursts of some hundred microseconds: nothing of
/// one is sent before its end, unless what takes it on is awake.
/// </summary>
public interface IWriteBursts
{
    /// <summary>Begins a burst on this thread.</summary>
    void BeginBurst();

    /// <summary>Ends it, on the same thread.</summary>
    void EndBurst();
}
