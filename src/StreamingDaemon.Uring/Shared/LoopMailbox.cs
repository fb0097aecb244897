using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;
using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Shared;

/// <summary>What other threads ask of a loop.</summary>
[Flags]
internal enum LoopRequests
{
    None = 0,

    /// <summary>Accept no more, serve what is queued, end with the last client.</summary>
    Drain = 1,

    /// <summary>Drop every client at once.</summary>
    Stop = 2,

    /// <summary>Give free memory back.</summary>
    Trim = 4,
}

/// <summary>
/// How other threads reach a loop: a Channel of streams that have something to send, requests, and an eventfd
/// that is written only if the loop said that it sleeps. From any thread, unless it says otherwise.
/// </summary>
internal sealed class LoopMailbox : IThreadPoolWorkItem, IDisposable
{
    /// <summary>Bursts that may wait for the pool's queue before the loop is woken for them.</summary>
    private const int MostBurstsQueued = 16;

    private readonly Channel<ClientStream> _channel;
    private readonly ChannelReader<ClientStream> _reader;
    private readonly EventFd _wakeEvent = new();
    private int _sleeping;
    private int _burstsQueued;
    private int _isWakeQueued;
    private int _requests;

    /// <exception cref="HandoffServerException">No descriptor is left.</exception>
    public LoopMailbox()
    {
        // Bounded by the number of streams: each is in it at most once.
        _channel = Channel.CreateUnbounded<ClientStream>(new UnboundedChannelOptions { SingleReader = true });
        _reader = _channel.Reader;
    }

    /// <summary>Enqueues a stream that has something to send or to end.</summary>
    public void Post(ClientStream stream)
    {
        // A loop that has ended refuses it, and has ended the stream too.
        if (_channel.Writer.TryWrite(stream) && !WakeBatch.Defers(this))
            Wake();
    }

    /// <summary>Asks for something, and wakes the loop for it.</summary>
    public void Request(LoopRequests requests)
    {
        Interlocked.Or(ref _requests, (int)requests);
        Wake();
    }

    /// <summary>Makes the loop turn if it sleeps; only then is there a system call.</summary>
    public void Wake()
    {
        // Pairs with the fence in BeginSleep: our enqueue before our look at the flag.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _sleeping) == 1 && Interlocked.Exchange(ref _sleeping, 0) == 1)
            _wakeEvent.Signal();
    }

    /// <summary>Wakes the loop, if it sleeps, after the pool has reached what is queued by now: that work
    /// probably brings more to send.</summary>
    public void WakeLater()
    {
        // As in Wake.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _sleeping) == 0)
            return;
        if (Interlocked.Increment(ref _burstsQueued) >= MostBurstsQueued)
        {
            Volatile.Write(ref _burstsQueued, 0);
            Wake();
        }
        else if (Interlocked.Exchange(ref _isWakeQueued, 1) == 0)
        {
            // Behind what this worker queued for itself, which it runs first.
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    void IThreadPoolWorkItem.Execute()
    {
        Volatile.Write(ref _burstsQueued, 0);
        // Before the wake: a thread that finds it queued has enqueued what that wake is for.
        Interlocked.Exchange(ref _isWakeQueued, 0);
        Wake();
    }

    // The loop calls everything below.

    /// <summary>What the loop's ring reads to be woken.</summary>
    public EventFd WakeEvent => _wakeEvent;

    /// <summary>Is there a stream to take, or a request?</summary>
    public bool HasMail => _reader.TryPeek(out _) || Volatile.Read(ref _requests) != 0;

    /// <summary>Takes the next stream that was posted.</summary>
    public bool TryTake([MaybeNullWhen(false)] out ClientStream stream) => _reader.TryRead(out stream);

    /// <summary>Takes all requests that were made since the last call.</summary>
    public LoopRequests TakeRequests() => Volatile.Read(ref _requests) == 0
        ? LoopRequests.None
        : (LoopRequests)Interlocked.Exchange(ref _requests, 0);

    /// <summary>
    /// From here on the eventfd is written for whatever comes. The looks after it see what others enqueued,
    /// requested or gave back before. The fence makes the store visible first, and theirs does the same for
    /// the enqueue.
    /// </summary>
    public void BeginSleep()
    {
        _sleeping = 1;
        Interlocked.MemoryBarrier();
    }

    public void EndSleep() => Volatile.Write(ref _sleeping, 0);

    /// <summary>Accepts no more streams.</summary>
    public void Close() => _channel.Writer.TryComplete();

    public void Dispose() => _wakeEvent.Dispose();
}
