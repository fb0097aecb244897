namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Threads that wait to take over from one that hangs. They are used only if the system gives no other: the
/// limit of tasks is reached, and a peer holds a socket's lock. The thread that hung becomes a spare when it
/// returns.
/// </summary>
internal sealed class SpareThreads
{
    /// <summary>Most threads of loops that may hang at a time while the system gives no thread.</summary>
    public const int Count = 3;

    /// <summary>Left for the loops by all other work: if a loop hangs, every stream waits.</summary>
    private const int LeftForLoops = 1;

    private readonly object _gate = new();
    private readonly Queue<ThreadStart> _work = new();
    private readonly HandoffServerOptions _options;
    private int _free = Count;
    private bool _ended;

    /// <exception cref="HandoffServerException">The system refuses another thread.</exception>
    public SpareThreads(HandoffServerOptions options)
    {
        _options = options;
        try
        {
            for (var i = 0; i < Count; i++)
                ServerThread.Start("spare", Wait, options);
        }
        catch
        {
            End();
            throw;
        }
    }

    /// <summary>Starts a thread that may hang. If a spare has taken over from it, it becomes a spare when it
    /// returns.</summary>
    /// <exception cref="HandoffServerException">The system refuses another thread.</exception>
    public void Start(string name, ThreadStart run) => ServerThread.Start(name, () =>
    {
        run();
        if (TryComeBack())
            Wait();
    }, _options);

    /// <summary>Runs the work of a thread that hangs, on a new thread or on a spare.</summary>
    /// <param name="name">Of the new thread.</param>
    /// <param name="run">The work; told whether the system gave no thread.</param>
    /// <param name="isLoop">Is it a loop?</param>
    /// <exception cref="HandoffServerException">The system refuses another thread, and no spare is left.
    /// </exception>
    public void Replace(string name, Action<bool> run, bool isLoop)
    {
        try
        {
            Start(name, () => run(false));
        }
        catch (HandoffServerException)
        {
            if (!TryGive(() => run(true), isLoop ? 0 : LeftForLoops))
                throw;
        }
    }

    /// <summary>Ends those that wait, and the others when their work has ended.</summary>
    public void End()
    {
        lock (_gate)
        {
            _ended = true;
            Monitor.PulseAll(_gate);
        }
    }

    private bool TryGive(ThreadStart run, int left)
    {
        lock (_gate)
        {
            if (_ended || _free <= left)
                return false;
            _free--;
            _work.Enqueue(run);
            Monitor.Pulse(_gate);
            return true;
        }
    }

    /// <returns>False if there are enough already, or no more are needed.</returns>
    private bool TryComeBack()
    {
        lock (_gate)
        {
            if (_ended || _free >= Count)
                return false;
            _free++;
            return true;
        }
    }

    private void Wait()
    {
        do
        {
            if (TryTake() is not { } run)
                return;
            run();
        }
        while (TryComeBack());
    }

    private ThreadStart? TryTake()
    {
        lock (_gate)
        {
            ThreadStart? run;
            while (!_work.TryDequeue(out run) && !_ended)
                Monitor.Wait(_gate);
            return run;
        }
    }
}
