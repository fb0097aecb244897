namespace StreamingDaemon.Host.Delivery;

/// <summary>Deliveries that have arrived, and whose files cannot be removed: the disk is read-only, say. They
/// are not sent again each time the directory is read. Thread-safe.</summary>
internal sealed class ArrivedDeliveries(DeliverySpool spool, DeliveryLog log)
{
    private readonly Lock _gate = new();
    private HashSet<string> _ids = [];

    /// <summary>Removes the file of one that has arrived.</summary>
    public void Remove(SpoolName name)
    {
        if (spool.RemovePending(name))
            return;
        lock (_gate)
            _ids.Add(name.Id);
        log.NotRemoved(name.Id, spool.Directory);
    }

    /// <summary>Of the names in the directory, those that have not arrived. The others are removed if they
    /// can be now.</summary>
    public IReadOnlyList<SpoolName> Remaining(IReadOnlyList<SpoolName> names)
    {
        lock (_gate)
        {
            if (_ids.Count == 0)
                return names;
            var (remaining, left) = (new List<SpoolName>(names.Count), new HashSet<string>());
            foreach (var name in names)
            {
                if (!_ids.Contains(name.Id))
                    remaining.Add(name);
                else if (!spool.RemovePending(name))
                    left.Add(name.Id);
            }

            _ids = left;
            return remaining;
        }
    }
}
