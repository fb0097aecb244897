using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

/// <summary>What is known of the CPU time that one client's calls take. Outside an alert, most clients need
/// no such account: nothing speaks against them, and their network is known.</summary>
internal sealed class ClientCost
{
    // Shares of the last few calls that were costly. A call's time may be that of other sockets' packets: a
    // thread that sends also handles the packets that wait on its core. So one costly call proves nothing,
    // and a client whose calls are costly now and then is not ended.
    private const float Weight = 0.25f;
    private const float AccusedFrom = 0.4f;
    private const float BelievedBelow = 0.15f;
    private const float CountsFrom = 0.75f;

    /// <summary>A client that had two calls of <see cref="NetworkCost.AlarmingNs"/> within this time is not
    /// quick, however many quick ones came between. A single one may have handled other sockets'
    /// packets.</summary>
    private const int RememberedMs = 10_000;

    private float _share;
    private long _computedAtMs = -RememberedMs;
    private long _computedBeforeMs = -RememberedMs;
    private long _ns;
    private long _spentNs;
    private bool _isAccused;

    /// <summary>CPU time of its calls while nearly all of them were costly. From any thread.</summary>
    public long Ns => Volatile.Read(ref _ns);

    /// <summary>CPU time of its costly calls, halved by each quick one. The client with the least is next.
    /// From any thread.</summary>
    public long SpentNs => Volatile.Read(ref _spentNs);

    /// <summary>A <see cref="CostlyCallThread"/> makes its calls. From any thread.</summary>
    public bool IsAccused => Volatile.Read(ref _isAccused);

    /// <summary>One of its calls was quick. From any thread.</summary>
    public bool IsProven { get; private set; }

    /// <summary>One of its calls was measured. From any thread.</summary>
    public bool IsMeasured { get; private set; }

    /// <summary>The client was sent something before its calls were suspected. Loop-owned.</summary>
    public bool WasServed { get; set; }

    /// <summary>Few of its recent calls were costly, and at most one computed for long: packets of others may
    /// have hit it. From any thread, while none makes a call for the client.</summary>
    public bool IsMostlyQuick => _share < AccusedFrom
        && LoopContext.ClockMs() - _computedBeforeMs >= RememberedMs;

    /// <summary>Nothing speaks against it, so its calls need not be measured.</summary>
    public bool IsClean => !IsAccused && SpentNs == 0 && Ns == 0;

    /// <summary>Its call that another thread makes, or null. Loop-owned.</summary>
    public CostlyCall? Call { get; set; }

    /// <summary>When a worker was given its call, ms of the loop's clock. Loop-owned.</summary>
    public long WorkerSinceMs { get; set; }

    /// <summary>Its calls seem to be costly. <see cref="CostlyCallThread"/> makes the next one, and measures
    /// it.</summary>
    public void Accuse() => Volatile.Write(ref _isAccused, true);

    /// <summary>One of its calls has taken so much CPU time. By the thread that made the call; no other
    /// thread makes one for the same client.</summary>
    /// <returns>True if the call was costly.</returns>
    public bool Add(long ns)
    {
        var isCostly = ns >= NetworkCost.CostlyNs;
        IsMeasured = true;
        _share += ((isCostly ? 1 : 0) - _share) * Weight;
        Volatile.Write(ref _spentNs, isCostly ? _spentNs + ns : _spentNs / 2);
        if (!isCostly)
            IsProven = true;
        if (ns >= NetworkCost.AlarmingNs)
            (_computedBeforeMs, _computedAtMs) = (_computedAtMs, LoopContext.ClockMs());
        if (_share >= AccusedFrom)
            Accuse();
        else if (_share < BelievedBelow && !isCostly)
            Volatile.Write(ref _isAccused, false);
        if (_share >= CountsFrom)
            Volatile.Write(ref _ns, _ns + ns);
        return isCostly;
    }
}
