using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// A queue and the thread that processes it, in order. A thread stuck in a system call keeps its item and is
/// left behind; another one continues the queue.
/// </summary>
/// <remarks>
/// Only a marked call (<see cref="Worker.BeginCall"/>) can be found to hang. The rest of the work is ours,
/// and replacing its thread would run it twice at a time.
/// </remarks>
internal abstract class ReplaceableThread<T> : IHangWatched
{
    private readonly Queue<T> _items = new();
    private readonly SleepWord _sleep = new();

    /// <summary>Items that wait until a hung thread has returned.</summary>
    private readonly Queue<T> _deferred = new();

    private readonly HandoffServerOptions _options;
    private readonly SpareThreads _spares;
    private readonly string _name;
    private readonly HungWork _work;
    private readonly int _mostHung;
    private Worker _worker;
    private bool _waits;
    private bool _ended;
    private bool _isOver;
    private int _hung;
    private long _replaced;

    /// <param name="name">Of the thread.</param>
    /// <param name="work">What it does.</param>
    /// <param name="mostHung">Threads that may be left behind at a time; if one more hangs, the queue waits
    /// for it.</param>
    /// <param name="options">What the server was told.</param>
    /// <param name="spares">Take over if the system gives no thread.</param>
    /// <exception cref="HandoffServerException">The system refuses another thread.</exception>
    protected ReplaceableThread(
        string name, HungWork work, int mostHung, HandoffServerOptions options, SpareThreads spares)
    {
        _name = name;
        _work = work;
        _mostHung = mostHung;
        (_options, _spares) = (options, spares);
        var first = _worker = new Worker();
        spares.Start(name, () => Run(first));
    }

    /// <summary>Threads that were left behind. From any thread.</summary>
    public HungThreads HungThreads => new(Hung, Volatile.Read(ref _replaced));

    /// <summary>Those of them that have not returned.</summary>
    protected int Hung => Volatile.Read(ref _hung);

    /// <summary>Do as many threads hang as may? Nobody takes over from one more.</summary>
    protected bool IsJammed => Hung >= _mostHung;

    /// <summary>Items that are not done, apart from those that hang. From any thread; may be a moment
    /// old.</summary>
    protected int Waiting => _items.Count + _deferred.Count;

    /// <summary>Is anything queued or being processed? From any thread.</summary>
    public bool IsBusy
    {
        get
        {
            lock (_items)
                return !_waits || _items.Count > 0;
        }
    }

    /// <inheritdoc/>
    public bool Hurries => Hung > 0 && !IsJammed && IsBusy;

    /// <summary>By the loop: it waits only as long as it takes to move a few references.</summary>
    public void Post(T item)
    {
        bool waits;
        lock (_items)
        {
            _items.Enqueue(item);
            waits = TakeWaiter();
        }

        if (waits)
            _sleep.Wake();
    }

    /// <summary>As <see cref="Post(T)"/>; empties the list.</summary>
    public void Post(List<T> items)
    {
        bool waits;
        lock (_items)
        {
            foreach (var item in items)
                _items.Enqueue(item);
            waits = TakeWaiter();
        }

        items.Clear();
        if (waits)
            _sleep.Wake();
    }

    /// <summary>Puts an item back until a hung thread has returned.</summary>
    protected void Defer(T item)
    {
        lock (_items)
            (IsJammed ? _deferred : _items).Enqueue(item);
    }

    /// <summary>Ends the thread once all that was posted is done.</summary>
    public void End()
    {
        bool waits;
        lock (_items)
        {
            _ended = true;
            waits = TakeWaiter();
        }

        if (waits)
            _sleep.Wake();
    }

    /// <summary>Processes one item.</summary>
    protected abstract void Process(T item, Worker worker);

    /// <summary>Called first by each thread.</summary>
    protected virtual void OnStarted()
    {
    }

    /// <summary>Is <see cref="Gather"/> to be called?</summary>
    protected virtual bool Gathers => false;

    /// <summary>Called before the first item after a pause.</summary>
    protected virtual void Gather()
    {
    }

    /// <summary>Everything posted before the end is done, except what hangs.</summary>
    protected virtual void OnEnded()
    {
    }

    /// <summary>Does a slow call that does not sleep count as no hang?</summary>
    protected virtual bool MustSleepToHang => true;

    /// <summary>By the thread that watches, at each look.</summary>
    protected virtual void OnLook(Worker worker)
    {
    }

    /// <summary>Must the caller wake the thread? Once: until it has woken up, another wake-up is useless.
    /// </summary>
    private bool TakeWaiter()
    {
        var waits = _waits;
        _waits = false;
        return waits;
    }

    private void Run(Worker worker)
    {
        worker.ThreadId = LinuxNative.GetThreadId();
        OnStarted();
        while (TryTake(worker, out var item))
            Process(item, worker);
        if (ReferenceEquals(worker, _worker))
            OnEnded();
    }

    /// <summary>A thread that was left behind has returned.</summary>
    private void TakeBack(Worker worker)
    {
        _hung--;
        while (_deferred.TryDequeue(out var item))
            _items.Enqueue(item);
        if (_isOver)
        {
            // The queue had ended: what waited for this thread is done by it.
            _isOver = false;
            _worker = worker;
        }

        if (TakeWaiter())
            _sleep.Wake();
    }

    private bool TryTake(Worker worker, out T item)
    {
        while (true)
        {
            lock (_items)
            {
                if (!ReferenceEquals(worker, _worker))
                {
                    TakeBack(worker);
                    if (!ReferenceEquals(worker, _worker))
                    {
                        item = default!;
                        return false;
                    }
                }

                if (_items.TryDequeue(out item!))
                    return true;
                _isOver = _ended;
                if (_isOver)
                    return false;
                _waits = true;
                _sleep.Begin();
            }

            _sleep.Wait();
            if (Gathers && !_ended)
                Gather();
        }
    }

    /// <inheritdoc/>
    public void LookForHang()
    {
        var worker = _worker;
        var call = worker.Call;
        OnLook(worker);
        if (worker.Watch.Hangs(call, MustSleepToHang ? worker.ThreadId : 0) && !IsJammed)
            Replace(worker, call);
    }

    /// <inheritdoc/>
    public void LookSooner()
    {
        // So soon, only sleep shows a hang: it may just be slow.
        var worker = _worker;
        var call = worker.Call;
        if (worker.SoonWatch.Hangs(call, worker.ThreadId) && !IsJammed)
            Replace(worker, call);
    }

    private void Replace(Worker worker, long call)
    {
        var next = new Worker();
        try
        {
            lock (_items)
            {
                // It has returned meanwhile: two would wait for one wake-up.
                if (worker.Call != call)
                    return;
                _spares.Replace(_name, _ => Run(next), isLoop: false);
                _worker = next;
                _hung++;
                _replaced++;
            }

            _options.OnThreadReplaced?.Invoke(_work);
        }
        catch (HandoffServerException)
        {
            // No thread is available: the next look tries again.
        }
    }

    /// <summary>One thread of the queue.</summary>
    protected internal sealed class Worker
    {
        private long _call;

        /// <summary>The kernel's number of the thread, 0 before it runs.</summary>
        public int ThreadId { get; set; }

        /// <summary>Odd while the thread is inside a call that may hang.</summary>
        public long Call => Volatile.Read(ref _call);

        /// <summary>Belongs to the thread that watches.</summary>
        public HangWatch Watch { get; } = new();

        /// <summary>As <see cref="Watch"/>, of the looks that come sooner.</summary>
        public HangWatch SoonWatch { get; } = new();

        public void BeginCall() => Volatile.Write(ref _call, _call + 1);

        public void EndCall() => Volatile.Write(ref _call, _call + 1);
    }
}
