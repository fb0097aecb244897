namespace StreamingDaemon.Host.Endpoints;

/// <summary>The connections that Kestrel has, held to a number. Places are given by the gate's thread, and
/// given back by any.</summary>
internal sealed class KestrelPlaces
{
    /// <summary>A scraper, probes and a person with a browser are not ten. With those that the gate holds
    /// within the headroom of <see cref="Uring.DescriptorBudget"/>.</summary>
    private const int Most = 48;

    private readonly Lock _gate = new();
    private readonly List<ProbeConnection> _inside = new(Most);
    private volatile int _count;

    /// <summary>Half of them are taken.</summary>
    public bool AreScarce => _count > Most / 2;

    public bool IsFull => _count >= Most;

    /// <summary>Only if there is a place.</summary>
    public void Add(ProbeConnection connection)
    {
        lock (_gate)
        {
            _inside.Add(connection);
            _count = _inside.Count;
        }
    }

    public void Remove(ProbeConnection connection)
    {
        lock (_gate)
        {
            _inside.Remove(connection);
            _count = _inside.Count;
        }
    }

    /// <summary>Puts out the earliest of those that may go, so that others get their places when they are
    /// closed.</summary>
    /// <param name="wanted">For how many others.</param>
    /// <param name="nowMs">The time.</param>
    public void PutOut(int wanted, long nowMs)
    {
        lock (_gate)
        {
            // Those that were put out before are still being closed.
            foreach (var connection in _inside)
                wanted -= connection.IsPutOut ? 1 : 0;
            for (; wanted > 0 && EarliestThatMayGo(nowMs) is { } earliest; wanted--)
                earliest.PutOut();
        }
    }

    private ProbeConnection? EarliestThatMayGo(long nowMs)
    {
        ProbeConnection? earliest = null;
        foreach (var connection in _inside)
        {
            if (connection.MayGo(nowMs) && (earliest is null || connection.Arrival < earliest.Arrival))
                earliest = connection;
        }

        return earliest;
    }
}
