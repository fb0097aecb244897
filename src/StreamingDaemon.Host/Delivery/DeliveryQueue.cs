namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// Which delivery is sent next: the one whose time has come, and of one user's only the oldest. It holds the
/// names of the oldest deliveries; further ones are on the disk only, until there is room
/// (<see cref="NeedsScan"/>). Not thread-safe.
/// </summary>
/// <param name="capacity">Most names that are held.</param>
internal sealed class DeliveryQueue(int capacity)
{
    private readonly Dictionary<string, QueuedDelivery> _all = [];
    private readonly Dictionary<ulong, Line> _lines = [];
    private readonly PriorityQueue<QueuedDelivery, (long DueMs, long Order)> _ready = new();
    private bool _isSpilled;

    /// <summary>What was written since the last look at the directory, in order.</summary>
    private readonly List<SpoolName> _new = [];
    private int _looked;

    /// <summary>Names that are held.</summary>
    public int Count => _all.Count + _new.Count;

    /// <summary>Something was added since the last look.</summary>
    public bool HasNew => _new.Count > 0;

    /// <summary>There is room for names that are on the disk only.</summary>
    public bool NeedsScan => _isSpilled && _all.Count <= capacity / 2;

    /// <summary>When the oldest of the held was accepted; null if there is none.</summary>
    public DateTimeOffset? Oldest => _all.Count == 0 ? null : _all.Values.Min(one => one.Name.AcceptedAt);

    /// <summary>Adds a delivery that was just written: it is newer than any other. Until the next look at the
    /// directory it is not sent: another process may have written an older one of its user.</summary>
    public void Add(SpoolName name)
    {
        if (_new.Count < capacity)
            _new.Add(name);
        else
            _isSpilled = true;
    }

    /// <summary>The directory is about to be looked at.</summary>
    public void BeginLook() => _looked = _new.Count;

    /// <summary>Whatever is older than what was added before the look is here, or there is no room for it.
    /// </summary>
    public void EndLook()
    {
        foreach (var name in _new[.._looked])
        {
            // The newest of a backlog that is larger than this: its turn is not soon.
            if (_isSpilled || _all.Count >= capacity)
                _isSpilled = true;
            else
                AddHeld(name);
        }

        _new.RemoveRange(0, _looked);
        _looked = 0;
    }

    /// <summary>Takes in what the directory has, and ends the look. Those that are held already stay as they
    /// are.</summary>
    /// <returns>How many deliveries there are.</returns>
    public int Scan(IEnumerable<SpoolName> names)
    {
        var count = 0;
        var isLeftOut = _new.Count >= capacity;
        // The newest is at the head, and goes if there is an older one.
        var oldest = new PriorityQueue<SpoolName, long>();
        foreach (var name in names)
        {
            count++;
            if (_all.ContainsKey(name.Id))
                continue;
            oldest.Enqueue(name, -name.Order);
            if (oldest.Count > capacity - _all.Count)
            {
                oldest.Dequeue();
                isLeftOut = true;
            }
        }

        _isSpilled = isLeftOut;
        foreach (var name in oldest.UnorderedItems.Select(item => item.Element).OrderBy(name => name.Order))
            AddHeld(name);
        EndLook();
        return count;
    }

    /// <summary>Takes the next delivery. Give it back by <see cref="Done"/> or <see cref="Retry"/>.</summary>
    /// <param name="nowMs">The time, as <see cref="Environment.TickCount64"/>.</param>
    /// <param name="waitMs">How long until the next one is due, if none is now; -1 if there is none.</param>
    /// <returns>Null if none is due.</returns>
    public QueuedDelivery? TryTake(long nowMs, out int waitMs)
    {
        waitMs = -1;
        if (!_ready.TryPeek(out var next, out var key))
            return null;
        if (key.DueMs > nowMs)
        {
            waitMs = (int)Math.Min(key.DueMs - nowMs, int.MaxValue);
            return null;
        }

        return _ready.Dequeue();
    }

    /// <summary>The delivery has ended: the next one of its user may be sent.</summary>
    public void Done(QueuedDelivery delivery)
    {
        _all.Remove(delivery.Name.Id);
        if (!_lines.TryGetValue(delivery.Name.User, out var line))
            return;
        if (line.Waiting.Min is { } next)
        {
            line.Waiting.Remove(next);
            MakeReady(next);
        }
        else
        {
            _lines.Remove(delivery.Name.User);
        }
    }

    /// <summary>The delivery is tried again later; until then it holds up those of its user.</summary>
    public void Retry(QueuedDelivery delivery, long dueMs)
    {
        delivery.DueMs = dueMs;
        MakeReady(delivery);
    }

    /// <summary>The deliveries that have failed and wait to be tried again.</summary>
    public List<SpoolName> Failed() => [.. _ready.UnorderedItems
        .Where(item => item.Element.Attempts > 0).Select(item => item.Element.Name)];

    /// <summary>Makes deliveries due at once.</summary>
    /// <param name="ids">Ids of deliveries that have failed.</param>
    public void Hasten(IReadOnlySet<string> ids)
    {
        var waiting = _ready.UnorderedItems.Select(item => item.Element).ToList();
        _ready.Clear();
        foreach (var one in waiting)
        {
            if (ids.Contains(one.Name.Id))
                (one.Attempts, one.DueMs) = (0, 0);
            MakeReady(one);
        }
    }

    private void AddHeld(SpoolName name)
    {
        var delivery = new QueuedDelivery(name);
        if (!_all.TryAdd(name.Id, delivery))
            return;
        if (name.User != 0 && _lines.TryGetValue(name.User, out var line))
        {
            line.Waiting.Add(delivery);
            return;
        }

        if (name.User != 0)
            _lines.Add(name.User, new Line());
        MakeReady(delivery);
    }

    private void MakeReady(QueuedDelivery delivery) =>
        _ready.Enqueue(delivery, (delivery.DueMs, delivery.Name.Order));

    /// <summary>The deliveries of one user behind the one that is sent, or is to be sent next.</summary>
    private sealed class Line
    {
        private static readonly Comparer<QueuedDelivery> s_byOrder =
            Comparer<QueuedDelivery>.Create((one, other) =>
                (one.Name.Order, one.Name.Id).CompareTo((other.Name.Order, other.Name.Id)));

        public SortedSet<QueuedDelivery> Waiting { get; } = new(s_byOrder);
    }
}

/// <summary>A delivery in the queue.</summary>
internal sealed class QueuedDelivery(SpoolName name)
{
    public SpoolName Name => name;

    /// <summary>How often it failed since this process knows it.</summary>
    public int Attempts { get; set; }

    /// <summary>When it is due, as <see cref="Environment.TickCount64"/>; 0 is at once.</summary>
    public long DueMs { get; set; }
}
