using StreamingDaemon.Uring.Clients;

namespace StreamingDaemon.Uring.Threads;

/// <summary>What the checks of new sockets cost, by network namespace.</summary>
internal sealed class CheckCosts
{
    /// <summary>How long after any costly check a namespace that is not known counts as costly.</summary>
    private const int CautiousForMs = 1_000;

    /// <summary>How long a namespace counts as costly after its last costly check. The second thread makes
    /// its later checks, and does not measure them.</summary>
    private const int CostlyForMs = 10_000;

    private const int MostKnown = 256;

    /// <summary>One costly check proves nothing: its thread also handles packets of others that wait on its
    /// core.</summary>
    private const int CostlyInARow = 2;

    private readonly object _gate = new();
    private readonly Dictionary<ulong, (int InARow, long AtMs)> _networks = [];
    private long _cautiousUntilMs;

    public bool MayBeCostly(ulong network)
    {
        lock (_gate)
        {
            // The clock is read only if some check was costly.
            if (_cautiousUntilMs == 0)
                return false;
            var nowMs = Environment.TickCount64;
            if (!_networks.TryGetValue(network, out var known))
                return nowMs < _cautiousUntilMs;
            if (known.InARow < CostlyInARow)
                return false;
            if (nowMs - known.AtMs < CostlyForMs)
                return true;
            _networks.Remove(network);
            return false;
        }
    }

    /// <summary>A check took this much CPU time. From any thread: one that was replaced may still return.
    /// </summary>
    public void Add(ulong network, long ns)
    {
        lock (_gate)
        {
            _networks.TryGetValue(network, out var known);
            if (_networks.Count >= MostKnown)
                _networks.Clear();
            if (ns < ClientCost.CostlyNs)
            {
                _networks[network] = default;
                return;
            }

            var nowMs = Environment.TickCount64;
            _cautiousUntilMs = nowMs + CautiousForMs;
            _networks[network] = (known.InARow + 1, nowMs);
        }
    }
}
