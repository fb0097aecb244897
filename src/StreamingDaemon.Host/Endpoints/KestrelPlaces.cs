namespace StreamingDaemon.Host.Endpoints;

/// <summary>Limits the number of connections that Kestrel has. Only the gate's thread adds one; any thread
/// removes one.</summary>
internal sealed class KestrelPlaces
{
    /// <summary>Most connections at once. A scraper, probes and a person with a browser need fewer than ten.
    /// Together with those that the gate holds, it fits in the headroom of
    /// <see cref="Uring.DescriptorBudget"/>.</summary>
    private const int Most = 48;

    private readonly Lock _gate = new();
    private readonly List<ProbeConnection> _inside = new(Most);
    private volatile int _count;

    /// <summary>True if more than half of the places are taken.</summary>
    public bool AreScarce => _count > Most / 2;

    public bool IsFull => _count >= Most;

    /// <summary>Adds a connection. Call it only if the places are not full.</summary>
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

    /// <summary>Ends the oldest connections that may be ended, to free their places for others.</summary>
    /// <param name="wanted">How many places are needed.</param>
    /// <param name="nowMs">Now, as <see cref="Environment.TickCount64"/>.</param>
    public void PutOut(int wanted, long nowMs)
    {
        lock (_gate)
        {
            // Connections that were ended before and are still closing count too.
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
