using System.Threading.Channels;
using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Loop;

// The facet that other threads touch: the Channel of streams that have something to send, the eventfd, the
// requests to drain or stop.
internal sealed partial class EventLoop : IThreadPoolWorkItem
{
    /// <summary>So many bursts may wait for the pool's queue before the loop is woken for them.</summary>
    private const int MostBurstsQueued = 16;

    private readonly Channel<ClientStream> _channel;
    private readonly ChannelReader<ClientStream> _reader;
    private readonly EventFd _wakeEvent = new();
    private int _sleeping;
    private int _burstsQueued;
    private int _isWakeQueued;
    private int _drainRequested;
    private int _stopRequested;
    private int _trimRequested;
    private int _handlersRunning;

    /// <summary>Calls of the handler that were made and have not returned. From any thread.</summary>
    public int HandlersRunning => Volatile.Read(ref _handlersRunning);

    public void OnHandlerCalled() => Interlocked.Increment(ref _handlersRunning);

    public void OnHandlerReturned() => Interlocked.Decrement(ref _handlersRunning);

    /// <summary>Enqueues a stream that has something to send or to end. From any thread.</summary>
    public void Post(ClientStream stream)
    {
        // Refused by a loop that has ended, which has ended the stream too.
        if (_channel.Writer.TryWrite(stream) && !WakeBatch.Defers(this))
            Wake();
    }

    /// <summary>Stop accepting, serve what is queued, end when the last client has; a loop that does not
    /// accept is told so by the one that does. From any thread.</summary>
    public void RequestDrain()
    {
        Volatile.Write(ref _drainRequested, 1);
        Wake();
    }

    /// <summary>Drain, and drop every client at once. From any thread.</summary>
    public void RequestStop()
    {
        Volatile.Write(ref _stopRequested, 1);
        if (_listener is not null)
            RequestDrain();
        else
            Wake();
    }

    /// <summary>Give free memory back. From any thread.</summary>
    public void RequestTrim()
    {
        _buffers.Trim();
        Volatile.Write(ref _trimRequested, 1);
        Wake();
    }

    /// <summary>Makes the loop turn, if it sleeps. From any thread; a system call only where it is
    /// needed.</summary>
    public void Wake()
    {
        // Pairs with the fence in WaitForCompletions: our enqueue before our look at the flag.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _sleeping) == 1 && Interlocked.Exchange(ref _sleeping, 0) == 1)
            _wakeEvent.Signal();
    }

    /// <summary>Wakes the loop, if it sleeps, once the pool has come to what is queued by now: that is more
    /// for it to send, as likely as not. From any thread.</summary>
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
            // Behind what this worker queued for itself, which it does first.
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    void IThreadPoolWorkItem.Execute()
    {
        Volatile.Write(ref _burstsQueued, 0);
        // Before the wake: who finds it queued has enqueued what that wake is for.
        Interlocked.Exchange(ref _isWakeQueued, 0);
        Wake();
    }

    private bool RequestsPending() =>
        (Volatile.Read(ref _drainRequested) == 1 && !_draining)
        || (Volatile.Read(ref _stopRequested) == 1 && !_stopped)
        || Volatile.Read(ref _trimRequested) == 1;

    private void ArmWake() => _operations.ReadWake(_wakeEvent);

    private void OnWake(int result)
    {
        if (result < 0 && result is not (-Errno.Again or -Errno.Intr or -Errno.Canceled))
            throw new HandoffServerException($"eventfd: {LinuxNative.Describe(result)}", -result);
        ArmWake();
    }

    private void DrainChannel()
    {
        for (var i = 0; i < StreamsPerTurn && _reader.TryRead(out var stream); i++)
            OnPosted(stream);
    }
}
