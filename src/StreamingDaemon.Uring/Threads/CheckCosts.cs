namespace StreamingDaemon.Uring.Threads;

/// <summary>What the checks of new sockets cost, by network namespace.</summary>
/// <param name="exit">Is told if a check computes for long: closes may too.</param>
internal sealed class CheckCosts(ExitReleases exit)
{
    /// <summary>How long after any costly check a namespace that is not known counts as costly.</summary>
    private const int CautiousForMs = 1_000;

    private const int MostKnown = 256;

    private readonly object _gate = new();
    private readonly Dictionary<ulong, (NetworkCost Cost, long Use)> _networks = [];
    private long _cautiousUntilMs;
    private long _uses;

    public bool MayBeCostly(ulong network)
    {
        lock (_gate)
        {
            // The clock is read only if some check was costly.
            if (_cautiousUntilMs == 0)
                return false;
            var nowMs = Environment.TickCount64;
            return _networks.TryGetValue(network, out var known)
                ? known.Cost.IsAccused(nowMs)
                : nowMs < _cautiousUntilMs;
        }
    }

    /// <summary>A check took this much CPU time. From any thread: one that was replaced may still return.
    /// </summary>
    public void Add(ulong network, long ns)
    {
        try
        {
            lock (_gate)
                AddLocked(network, ns, Environment.TickCount64);
        }
        catch (OutOfMemoryException)
        {
            // The namespace stays unknown.
            OutOfMemory.Survive();
        }
    }

    private void AddLocked(ulong network, long ns, long nowMs)
    {
        if (_networks.TryGetValue(network, out var known))
        {
            _networks[network] = known with { Use = ++_uses };
        }
        else
        {
            // Sockets of the site come all the time, so the least recently used one is not the site's.
            if (_networks.Count >= MostKnown)
                _networks.Remove(_networks.MinBy(entry => entry.Value.Use).Key);
            known = (new NetworkCost(network), ++_uses);
            _networks.Add(network, known);
        }

        if (ns < NetworkCost.CostlyNs)
            return;
        _cautiousUntilMs = nowMs + CautiousForMs;
        known.Cost.AddCostly(ns, nowMs);
        if (ns >= NetworkCost.AlarmingNs)
            exit.Need();
    }
}
