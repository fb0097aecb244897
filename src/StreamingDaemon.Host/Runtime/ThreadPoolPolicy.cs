namespace StreamingDaemon.Host.Runtime;

/// <summary>What one look at the thread pool saw.</summary>
/// <param name="Pending">Work items that wait.</param>
/// <param name="Completed">Work items done so far.</param>
/// <param name="Busy">Workers that run a work item, or block in one.</param>
/// <param name="Late">A work item that was queued at the look before has not begun.</param>
internal readonly record struct ThreadPoolReading(long Pending, long Completed, int Busy, bool Late);

/// <summary>
/// How many workers the pool is to have: as few as keep up. The pool wakes one more for whatever may be left
/// to do, and a core that sleeps is dear to wake for a token's few microseconds. More as soon as work waits,
/// and many more if all of them block: by itself the pool adds one or two a second.
/// </summary>
/// <param name="cores">Processors: more workers than these are for those who block.</param>
/// <param name="least">To begin with, and never fewer.</param>
internal sealed class ThreadPoolPolicy(int cores, int least = 1)
{
    /// <summary>Where all workers block, so many are added, up to so many.</summary>
    private const int More = 8;
    private const int Most = 64;

    /// <summary>Looks in a row at a pool that has work and does none.</summary>
    private const int StuckLooks = 10;

    /// <summary>Looks in a row that found work late: one may be a collection, or a busy neighbour.</summary>
    private const int LateLooks = 2;

    /// <summary>Looks without late work before fewer are tried, and, if each try was followed by late
    /// work, at most.</summary>
    private const int CalmLooks = 100;
    private const int MostCalmLooks = 64 * CalmLooks;

    /// <summary>Fewer are tried if so large a part of the workers was busy.</summary>
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

    /// <summary>Workers from one look to the next: the number of processors at most, unless they
    /// block.</summary>
    public int Workers { get; private set; } = least;

    /// <returns>True if the pool is to be given <see cref="Workers"/>, which may be as many as
    /// before: the pool too adds some by itself.</returns>
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
        // If there were more than that to begin with, they stay.
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
        // Those who block are counted one by one: which of them comes back is not known.
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
