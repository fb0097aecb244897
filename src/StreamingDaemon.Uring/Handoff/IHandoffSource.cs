using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// Where a loop's handoffs come from: the <see cref="HandoffIntake"/> of the loop that accepts, or nowhere.
/// Called by the loop's thread, once a turn and for each handoff, never for a token. Disposed to give back
/// what the kernel wrote into, once it does so no more.
/// </summary>
internal interface IHandoffSource : IDisposable
{
    /// <summary>Handoffs on their way.</summary>
    int Count { get; }

    /// <summary>Has the last handoff come and left?</summary>
    bool IsDone { get; }

    /// <summary>Is a stop of this loop a drain too?</summary>
    bool EndsOnStop { get; }

    /// <summary>Has another loop given a place back since <see cref="Turn"/> found none?</summary>
    bool MayServeHeld { get; }

    /// <summary>Once a turn: serves those that wait, and accepts as many more as there is room for.</summary>
    void Turn();

    /// <summary>An accept has completed.</summary>
    void OnAccepted(in CompletionEntry completion);

    /// <summary>The watch of the listener has completed.</summary>
    void OnListenerWatched(int result);

    /// <summary>The generation of a handoff's slot.</summary>
    uint GenerationOf(int slot);

    /// <summary>A look at a handoff's message has completed. Its generation is checked.</summary>
    void OnReceived(int slot, int result);

    /// <summary>Arms in a new ring what was in flight in the old one.</summary>
    /// <param name="completed">What the old one had completed; still to be given out.</param>
    /// <param name="ended">The names of those operations among it that have ended.</param>
    void ArmAgain(List<CompletionEntry> completed, HashSet<ulong> ended);

    /// <summary>Gives free memory back.</summary>
    void Trim();

    /// <summary>From now on no process finds the socket's path; those queued are served.</summary>
    void BeginDrain();

    /// <summary>Drops the handoffs that are on their way, and those that still come.</summary>
    void Stop();

    /// <summary>The loop has ended: closes the listener, before the ring is.</summary>
    void BeginClose();

    /// <summary>The ring is gone: closes what handoffs hold.</summary>
    void Abandon();
}

/// <summary>For a loop that does not accept.</summary>
internal sealed class NoHandoffs : IHandoffSource
{
    private NoHandoffs()
    {
    }

    public static NoHandoffs Instance { get; } = new();

    public int Count => 0;

    public bool IsDone => true;

    public bool EndsOnStop => false;

    public bool MayServeHeld => false;

    public void Turn()
    {
    }

    public void OnAccepted(in CompletionEntry completion) => throw NotHere();

    public void OnListenerWatched(int result) => throw NotHere();

    public uint GenerationOf(int slot) => throw NotHere();

    public void OnReceived(int slot, int result) => throw NotHere();

    public void ArmAgain(List<CompletionEntry> completed, HashSet<ulong> ended)
    {
    }

    public void Trim()
    {
    }

    public void BeginDrain()
    {
    }

    public void Stop()
    {
    }

    public void BeginClose()
    {
    }

    public void Abandon()
    {
    }

    public void Dispose()
    {
    }

    private static InvalidOperationException NotHere() => new("This loop asks for no handoff.");
}
