namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Streams that have ended, and whose producers do not know it yet. A producer has nothing more to send then,
/// only to count and to log. So it is told with others, in one work item of the thread pool, at the next look
/// of <see cref="HangMonitor"/>, which is awake while there are clients. To wake the pool for each end would
/// cost more than what there is to do.
/// </summary>
internal sealed class StreamEnds : IHangWatched, IThreadPoolWorkItem
{
    private readonly Queue<ClientStream> _ended = new();
    private bool _isClosed;

    /// <summary>Is anybody to be told? From any thread.</summary>
    public bool IsBusy
    {
        get
        {
            lock (_ended)
                return _ended.Count > 0;
        }
    }

    /// <summary>Has the producer told. From any thread.</summary>
    public void Add(ClientStream stream)
    {
        lock (_ended)
            _ended.Enqueue(stream);
        if (Volatile.Read(ref _isClosed))
            Tell();
    }

    /// <summary>From now on nobody waits for a look. From any thread.</summary>
    public void Close()
    {
        Volatile.Write(ref _isClosed, true);
        Tell();
    }

    void IHangWatched.LookForHang() => Tell();

    void IThreadPoolWorkItem.Execute()
    {
        // If one of them blocks this thread, the next work item tells the others.
        while (TryTake() is { } stream)
            stream.TellEnd();
    }

    private void Tell()
    {
        if (IsBusy)
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    private ClientStream? TryTake()
    {
        lock (_ended)
            return _ended.TryDequeue(out var stream) ? stream : null;
    }
}
