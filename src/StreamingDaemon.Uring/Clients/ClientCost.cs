namespace StreamingDaemon.Uring.Clients;

/// <summary>What is known of the CPU time that one client's calls take. Of a client whose calls were never
/// measured there is none.</summary>
internal sealed class ClientCost
{
    /// <summary>A call that computes for longer is costly: a hundred times the usual.</summary>
    private const long CostlyNs = 500_000;

    // Shares of the last few calls that were costly. The time of a call may be that of somebody else's
    // packets: the kernel handles those that wait on a core in the thread that sends next. So one costly call
    // is no sign, and a client whose calls are costly now and then is not ended.
    private const float Weight = 0.25f;
    private const float AccusedFrom = 0.4f;
    private const float BelievedBelow = 0.15f;
    private const float CountsFrom = 0.75f;

    private float _share;
    private long _ns;
    private bool _isAccused;

    /// <summary>The CPU time of its calls since nearly all of them were costly. From any thread.</summary>
    public long Ns => Volatile.Read(ref _ns);

    /// <summary>Its calls are made on <see cref="CostlyCallThread"/>. From any thread.</summary>
    public bool IsAccused => Volatile.Read(ref _isAccused);

    /// <summary>A call of it took no time. From any thread.</summary>
    public bool IsProven { get; private set; }

    /// <summary>When a worker was given its call, ms of the loop's clock. Loop-owned.</summary>
    public long WorkerSinceMs { get; set; }

    /// <summary>Something looks as if its calls were costly: the next is made where that does no harm, and is
    /// measured.</summary>
    public void Accuse() => Volatile.Write(ref _isAccused, true);

    /// <summary>A call of it has taken that much CPU time. By the thread that made it; no other makes one
    /// for the same client.</summary>
    /// <returns>True if that was costly.</returns>
    public bool Add(long ns)
    {
        var isCostly = ns >= CostlyNs;
        _share += ((isCostly ? 1 : 0) - _share) * Weight;
        if (!isCostly)
            IsProven = true;
        if (_share >= AccusedFrom)
            Accuse();
        else if (_share < BelievedBelow && !isCostly)
            Volatile.Write(ref _isAccused, false);
        if (_share >= CountsFrom)
            Volatile.Write(ref _ns, _ns + ns);
        return isCostly;
    }
}
