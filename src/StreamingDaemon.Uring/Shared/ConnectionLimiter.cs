namespace StreamingDaemon.Uring.Shared;

/// <summary>
/// The places of clients, for all loops together. The loop that accepts takes them; the loop that served
/// gives them back. Read from any thread.
/// </summary>
internal sealed class ConnectionLimiter
{
    private int _admitted;
    private int _refused;
    private int _most;
    private int _mostRefused;
    private int _waiting;
    private int _peak;
    private int _recentPeak;
    private Action? _onPlaceFree;

    /// <summary>Clients being served.</summary>
    public int Admitted => Volatile.Read(ref _admitted);

    /// <summary>The limit of <see cref="Admitted"/>; 0 before it is known.</summary>
    public int Most => Volatile.Read(ref _most);

    /// <summary>Highest <see cref="Admitted"/> since the start.</summary>
    public int Peak => Volatile.Read(ref _peak);

    /// <summary>Complete handoffs that wait for a place. Set by the loop that accepts.</summary>
    public int Waiting
    {
        get => Volatile.Read(ref _waiting);
        // A full fence: a thread that gives a place back after it sees it, or the look for a place that
        // follows sees that thread.
        set => Interlocked.Exchange(ref _waiting, value);
    }

    /// <summary>Would <see cref="TryTake"/> find a place?</summary>
    public bool HasRoom => Admitted < Most || Volatile.Read(ref _refused) < Volatile.Read(ref _mostRefused);

    /// <summary>Highest <see cref="Admitted"/> since the last call.</summary>
    public int TakeRecentPeak() => Interlocked.Exchange(ref _recentPeak, Admitted);

    /// <param name="budget">Source of the limits.</param>
    /// <param name="onPlaceFree">Called if a place is given back while a handoff waits for one, on the thread
    /// that gives it back.</param>
    public void Open(DescriptorBudget budget, Action onPlaceFree)
    {
        _onPlaceFree = onPlaceFree;
        Volatile.Write(ref _mostRefused, budget.Refusals);
        Volatile.Write(ref _most, budget.MaxConnections);
    }

    /// <summary>Only by the loop that accepts.</summary>
    /// <param name="admission">Served, or told that the limit is reached.</param>
    /// <returns>False if there is no place for either.</returns>
    public bool TryTake(out HandoffAdmission admission)
    {
        if (Admitted < _most)
        {
            admission = HandoffAdmission.Admitted;
            var admitted = Interlocked.Increment(ref _admitted);
            if (admitted > _peak)
                Volatile.Write(ref _peak, admitted);
            if (admitted > Volatile.Read(ref _recentPeak))
                Volatile.Write(ref _recentPeak, admitted);
            return true;
        }

        admission = HandoffAdmission.OverCapacity;
        if (Volatile.Read(ref _refused) >= _mostRefused)
            return false;
        Interlocked.Increment(ref _refused);
        return true;
    }

    /// <summary>A client's place is free again.</summary>
    public void Return(bool isAdmitted)
    {
        // A full fence: see Waiting.
        _ = isAdmitted ? Interlocked.Decrement(ref _admitted) : Interlocked.Decrement(ref _refused);
        if (Waiting > 0)
            _onPlaceFree?.Invoke();
    }
}
