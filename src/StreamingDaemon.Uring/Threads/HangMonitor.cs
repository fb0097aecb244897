namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// The thread that notices calls which do not return: releases and calls on sockets that others hold too.
/// It sleeps while there is neither a client nor a handoff.
/// </summary>
internal sealed class HangMonitor
{
    /// <summary>Between two looks. Three of them find a hang: streams stand still for 40 to 60 ms.</summary>
    private const int PauseMs = 20;

    /// <summary>The same while something odd is closed: each look ends one lingering close. Also for those
    /// that hurry: a queue of sockets whose locks are held would otherwise take 60 ms for each.</summary>
    private const int ShortPauseMs = 2;

    private readonly object _gate = new();
    private volatile IHangWatched[] _watched = [];
    private volatile IHangWatched? _odd;
    private bool _waits;
    private bool _ended;

    /// <exception cref="HandoffServerException">The system refuses another thread.</exception>
    public HangMonitor(HandoffServerOptions options) => ServerThread.Start("hang monitor", Run, options);

    public void Add(IHangWatched watched)
    {
        lock (_gate)
            _watched = [.. _watched, watched];
    }

    /// <summary>As <see cref="Add"/>, for what closes anything that may wait: it is checked more
    /// often.</summary>
    public void AddOdd(IHangWatched watched) => _odd = watched;

    /// <summary>Something became busy. From any thread; a look at a flag unless the monitor sleeps.</summary>
    public void Wake()
    {
        // Pairs with the fence in WaitForWork: what became busy before our look at the flag.
        Interlocked.MemoryBarrier();
        if (!Volatile.Read(ref _waits))
            return;
        lock (_gate)
            Monitor.Pulse(_gate);
    }

    public void End()
    {
        lock (_gate)
        {
            _ended = true;
            Monitor.Pulse(_gate);
        }
    }

    private void Run()
    {
        var dueMs = 0L;
        while (WaitForWork())
        {
            var isShort = _odd?.IsBusy == true || Array.Exists(_watched, static watched => watched.Hurries);
            Thread.Sleep(isShort ? ShortPauseMs : PauseMs);
            try
            {
                Look(ref dueMs);
            }
            catch (OutOfMemoryException)
            {
                // The next look may find more.
                OutOfMemory.Survive();
            }
        }
    }

    private void Look(ref long dueMs)
    {
        _odd?.LookForHang();
        var now = Environment.TickCount64;
        var isDue = now >= dueMs;
        if (isDue)
            dueMs = now + PauseMs;
        foreach (var watched in _watched)
        {
            if (watched.Hurries)
                watched.LookSooner();
            if (isDue)
                watched.LookForHang();
        }
    }

    private bool WaitForWork()
    {
        lock (_gate)
        {
            while (!_ended)
            {
                Volatile.Write(ref _waits, true);
                Interlocked.MemoryBarrier();
                if (_odd?.IsBusy == true || Array.Exists(_watched, static watched => watched.IsBusy))
                    break;
                Monitor.Wait(_gate);
            }

            Volatile.Write(ref _waits, false);
            return !_ended;
        }
    }
}
