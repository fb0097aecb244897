namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// What is known of the CPU time that calls on the sockets of one network namespace take. The process that
/// made the namespace decides what each of its packets costs. So what one of its sockets costs, the others
/// can cost too. Not thread-safe, except for <see cref="Blame"/> and
/// <see cref="WasBlamedSince"/>.
/// </summary>
internal sealed class NetworkCost(ulong cookie)
{
    /// <summary>CPU time of a costly call: a hundred times that of a usual one.</summary>
    public const long CostlyNs = 500_000;

    /// <summary>One call with this CPU time begins an alert. The first call of a thread also loads code, so
    /// cheaper calls are left to <see cref="CostWatch"/>, which judges several together.</summary>
    public const long AlarmingNs = 5_000_000;

    /// <summary>From this much on, another thread makes all calls. Less may come from packets of others: a
    /// thread that sends also handles the packets that wait on its core. They hit a network with many clients
    /// more often, so it may cost more: half a millisecond for each client.</summary>
    private const long LeastAccusedFromNs = 40_000_000;

    private const long MostAccusedFromNs = 150_000_000;

    private const long BelievedBelowNs = 5_000_000;

    /// <summary>With <see cref="ForgottenNsPerMs"/>, a network is believed again after 20 s.</summary>
    private const long MostNs = 200_000_000;

    /// <summary>Only time lowers the cost: quick calls in between, however many, do not.</summary>
    private const long ForgottenNsPerMs = 10_000;

    private long _spentNs;
    private long _atMs;
    private bool _isAccused;
    private long _provenIn;
    private long _cautiousUntilMs;
    private long _blamedAtMs = long.MinValue;

    /// <summary>SO_NETNS_COOKIE, or 0 if the kernel has none.</summary>
    public ulong Cookie => cookie;

    /// <summary>Clients that are served; 0 if nobody counts them.</summary>
    public int Clients { get; set; }

    /// <summary>Some call on one of its sockets was quick.</summary>
    public bool IsProven => _provenIn > 0;

    /// <summary>CPU time of its recent costly calls.</summary>
    public long SpentNs => _spentNs;

    /// <summary>The same, for each of its clients.</summary>
    public long SpentNsPerClient => _spentNs / Math.Max(1, Clients);

    /// <summary>Was one of its calls quick since the loop last met a costly one?</summary>
    public bool IsProvenIn(long alert) => _provenIn == alert;

    /// <summary>Do its calls cost too much for the loop?</summary>
    public bool IsAccused(long nowMs)
    {
        if (_spentNs == 0)
            return false;
        Forget(nowMs);
        if (_spentNs >= Math.Clamp(
            Clients * CostlyNs, LeastAccusedFromNs, MostAccusedFromNs))
        {
            _isAccused = true;
        }
        else if (_spentNs < BelievedBelowNs)
        {
            _isAccused = false;
        }

        return _isAccused;
    }

    /// <summary>Has it made quick calls, and no more than a costly one for each client?</summary>
    public bool IsTrusted(long nowMs) =>
        IsProven && !IsAccused(nowMs) && SpentNsPerClient < CostlyNs;

    /// <summary>Did the loop meet a costly call of this network a moment ago?</summary>
    public bool IsCautious(long nowMs) => nowMs < _cautiousUntilMs;

    /// <summary>The loop met a costly call. The next unproven socket may be as costly.</summary>
    public void BeCautiousUntil(long atMs) => _cautiousUntilMs = atMs;

    /// <summary>A call here took <see cref="AlarmingNs"/> or more on another thread. The loop that owns this
    /// learns of it only later. From any thread.</summary>
    public void Blame(long nowMs) => Volatile.Write(ref _blamedAtMs, nowMs);

    /// <summary>Was <see cref="Blame"/> called at or after this time? From any thread.</summary>
    public bool WasBlamedSince(long ms) => Volatile.Read(ref _blamedAtMs) >= ms;

    public void AddQuick(long alert) => _provenIn = alert;

    public void AddCostly(long ns, long nowMs)
    {
        Forget(nowMs);
        _spentNs = Math.Min(MostNs, _spentNs + ns);
    }

    private void Forget(long nowMs)
    {
        _spentNs = Math.Max(0, _spentNs - (Math.Max(0, nowMs - _atMs) * ForgottenNsPerMs));
        _atMs = nowMs;
    }
}
