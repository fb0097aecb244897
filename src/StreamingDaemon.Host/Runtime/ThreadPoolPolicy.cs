namespace StreamingDaemon.Host.Runtime;

/// <summary>One look at the thread pool.</summary>
/// <param name="Pending">Work items that wait.</param>
/// <param name="Completed">Work items completed since the start.</param>
/// <param name="Busy">Workers that run a work item, or block in one.</param>
/// <param name="Late">True if a work item queued at the previous look has not begun.</param>
internal readonly record struct ThreadPoolReading(long Pending, long Completed, int Busy, bool Late);

/// <summary>
/// Decides how many workers the pool has: as few as keep up with the work. By itself, the pool wakes one more
/// worker whenever work may be left, but a token takes only microseconds, and waking an idle core costs more.
/// The number grows as soon as work waits, and by many if all workers block: the pool itself would add only
/// one or two a second.
/// </summary>
/// <param name="cores">Number of processors. More workers than this are useful only if some block.</param>
/// <param name="least">The number of workers at the start, and the minimum.</param>
internal sealed class ThreadPoolPolicy(int cores, int least = 1)
{
    /// <summary>If all workers block, <see cref="More"/> are added at once, up to <see cref="Most"/>.
    /// </summary>
    private const int More = 8;
    private const int Most = 64;

    /// <summary>After this many looks in a row at a pool that has work and completes none, all block.
    /// </summary>
    private const int StuckLooks = 10;

    /// <summary>Looks in a row that must find late work. A single one may be a garbage collection, or another
    /// process on the machine.</summary>
    private const int LateLooks = 2;

    /// <summary>Looks without late work before fewer workers are tried. The number doubles each time such a
    /// try leads to late work, up to <see cref="MostCalmLooks"/>.</summary>
    private const int CalmLooks = 100;
    private const int MostCalmLooks = 64 * CalmLooks;

    /// <summary>Fewer workers are tried if less than this part of them was busy, on average.</summary>
    private const double TryBelow = 0.75;

    private readonly int _least = least;
    private long _completed;
    private int _stuck;
    private int _late;
    private int _calm;
    private int _calmNeeded = CalmLooks;
    private int _busy;
    private int _busiest;
    private bool _trying;

    /// <summary>Number of workers until the next look: at most the number of processors, unless they block.
    /// </summary>
    public int Workers { get; private set; } = least;

    /// <returns>True if the pool must be set to <see cref="Workers"/> again. That number may be unchanged,
    /// because the pool also adds workers by itself.</returns>
    public bool Look(in ThreadPoolReading reading)
    {
        _stuck = reading.Pending > 0 && reading.Completed == _completed ? _stuck + 1 : 0;
        _completed = reading.Completed;
        if (_stuck >= StuckLooks)
            return Grow(Math.Max(Workers, cores) + More, Most);
        _late = reading.Late || _stuck > 0 ? _late + 1 : 0;
        if (_late < LateLooks)
            return Calm(reading.Busy);
        if (Workers < cores)
            return Grow(Workers * 2, cores);
        _calm = _busy = _busiest = 0;
        return false;
    }

    private bool Grow(int workers, int most)
    {
        if (_trying)
            _calmNeeded = Math.Min(_calmNeeded * 2, MostCalmLooks);
        BeginCalm();
        workers = Math.Min(workers, most);
        // If there are more workers than that already, they stay.
        if (workers <= Workers)
            return false;
        Workers = workers;
        return true;
    }

    private bool Calm(int busy)
    {
        _busy += busy;
        _busiest = Math.Max(_busiest, busy);
        if (++_calm < (_trying ? CalmLooks : _calmNeeded))
            return false;
        if (_trying)
            _calmNeeded = CalmLooks;
        var busyOnAverage = (double)_busy / _calm;
        var busiest = _busiest;
        BeginCalm();
        // More busy workers than processors: some block, and nobody knows which of them will return.
        if (busiest > Math.Max(cores, _least) || busyOnAverage > TryBelow * Workers)
            return false;
        var fewer = Math.Max(_least, Workers > cores ? cores : Workers - Math.Max(1, Workers / 4));
        _trying = fewer < Workers;
        Workers = fewer;
        return true;
    }

    private void BeginCalm()
    {
        _stuck = _late = _calm = _busy = _busiest = 0;
        _trying = false;
    }
}
