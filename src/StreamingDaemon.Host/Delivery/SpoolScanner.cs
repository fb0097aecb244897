namespace StreamingDaemon.Host.Delivery;

/// <summary>Fills the queue from the directory, if this process is the one that sends. Its thread is the
/// pump's; what says so is for any thread that holds the gate.</summary>
/// <param name="spool">The directory.</param>
/// <param name="queue">What it fills.</param>
/// <param name="backoff">Its pause ends if an operator asks for a delivery.</param>
/// <param name="gate">Guards the queue and the backoff.</param>
/// <param name="dead">Trimmed when the directory is looked at.</param>
/// <param name="arrived">What is still there, and must not be sent.</param>
/// <param name="log">The log.</param>
internal sealed class SpoolScanner(DeliverySpool spool, DeliveryQueue queue, DeliveryBackoff backoff,
    object gate, DeadLetters dead, ArrivedDeliveries arrived, DeliveryLog log) : IDisposable
{
    /// <summary>With more, the directory is not read for each delivery that this process writes.</summary>
    private const int FewNames = 1_000;

    private readonly SpoolWatch _watch = new(spool);

    /// <summary>Whether this process has the right to send. With the gate.</summary>
    public bool IsSender { get; private set; }

    public void Dispose() => _watch.Dispose();

    /// <summary>This process has written a delivery. With the gate.</summary>
    /// <returns>False if another process must learn of it.</returns>
    public bool TryAdd(SpoolName name)
    {
        if (!IsSender)
            return false;
        queue.Add(name);
        return true;
    }

    public bool TryBecomeSender()
    {
        if (_watch.HasLock(Environment.TickCount64))
            return true;
        var isLocked = _watch.TryLock();
        lock (gate)
            IsSender = isLocked;
        if (!isLocked)
        {
            log.SentElsewhere(spool.Directory);
            return false;
        }

        if (Scan() is > 0 and var found)
            log.Waiting(found, spool.Directory);
        return true;
    }

    public void ScanIfNeeded()
    {
        bool hasRoom, isNew;
        lock (gate)
        {
            hasRoom = queue.NeedsScan;
            isNew = queue.HasNew && queue.Count <= FewNames;
            queue.BeginLook();
        }

        var isTouched = _watch.IsTouched(Environment.TickCount64, isNew);
        if (isTouched)
            HastenForgotten();
        var isDue = _watch.IsScanDue(Environment.TickCount64);
        dead.Trim(Environment.TickCount64, isTouched || isDue);
        if (hasRoom || isTouched || isDue)
        {
            Scan();
            return;
        }

        lock (gate)
            queue.EndLook();
    }

    private int Scan()
    {
        lock (gate)
            queue.BeginLook();
        var names = arrived.Remaining(_watch.Scan(Environment.TickCount64));
        lock (gate)
            return queue.Scan(names);
    }

    /// <summary>An operator asks for a delivery by removing what is known about its attempts.</summary>
    private void HastenForgotten()
    {
        List<SpoolName> failed;
        lock (gate)
            failed = queue.Failed();
        var forgotten = failed.Where(name => spool.AttemptsOfPending(name) is null)
            .Select(name => name.Id).ToHashSet();
        if (forgotten.Count == 0)
            return;
        lock (gate)
        {
            queue.Hasten(forgotten);
            backoff.EndPause();
        }
    }
}
