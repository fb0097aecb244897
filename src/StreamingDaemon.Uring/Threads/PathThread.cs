namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Makes the calls on the socket's path and on the lock beside it. If the file system does not answer (NFS,
/// FUSE), they wait for ever: then only this thread does.
/// </summary>
internal sealed class PathThread
{
    [ThreadStatic]
    private static PathThread? s_ofThread;

    private readonly object _gate = new();
    private readonly Queue<Job> _jobs = new();
    private bool _works;
    private bool _ended;
    private long _aliveMs;

    /// <exception cref="HandoffServerException">The system refuses another thread.</exception>
    public PathThread(HandoffServerOptions options) => ServerThread.Start("socket path", Run, options);

    /// <summary>This thread's call has returned; it only waits for another process.</summary>
    public static void ShowLife()
    {
        if (s_ofThread is { } paths)
            Volatile.Write(ref paths._aliveMs, Environment.TickCount64);
    }

    /// <summary>Runs the work on the thread, and waits for it. The work must not throw.</summary>
    /// <param name="work">What to run.</param>
    /// <param name="patienceMs">Longest wait for one call.</param>
    /// <returns>False if a call did not return in that time. The work may still be done later.</returns>
    public bool TryRun(Action work, int patienceMs)
    {
        var job = new Job(work);
        lock (_gate)
        {
            if (!_works && _jobs.Count == 0)
                Volatile.Write(ref _aliveMs, Environment.TickCount64);
            _jobs.Enqueue(job);
            Monitor.PulseAll(_gate);
            while (!job.IsDone)
            {
                var left = Volatile.Read(ref _aliveMs) + patienceMs - Environment.TickCount64;
                if (left <= 0)
                    return false;
                Monitor.Wait(_gate, (int)left);
            }

            return true;
        }
    }

    /// <summary>Ends the thread once all work is done.</summary>
    public void End()
    {
        lock (_gate)
        {
            _ended = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void Run()
    {
        s_ofThread = this;
        while (TryTake(out var job))
        {
            job.Work();
            lock (_gate)
            {
                job.IsDone = true;
                _works = false;
                Monitor.PulseAll(_gate);
            }
        }
    }

    private bool TryTake(out Job job)
    {
        lock (_gate)
        {
            while (!_jobs.TryDequeue(out job!))
            {
                if (_ended)
                    return false;
                Monitor.Wait(_gate);
            }

            _works = true;
            ShowLife();
            return true;
        }
    }

    private sealed class Job(Action work)
    {
        public Action Work { get; } = work;

        public bool IsDone { get; set; }
    }
}
