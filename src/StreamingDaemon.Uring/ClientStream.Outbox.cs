using StreamingDaemon.Uring.Clients;

namespace StreamingDaemon.Uring;

// How a producer puts bytes into the stream's outbox, and how the loop learns of it.
public sealed partial class ClientStream
{
    private Outbox _outbox = new();

    internal ref Outbox Outbox => ref _outbox;

    /// <summary>Flushed bytes that the kernel has not taken.</summary>
    internal long UnsentBytes => _outbox.Unsent;

    private bool IsClosed => _outbox.IsClosed;

    /// <summary>Appends bytes, or says how the stream ends, or both, and tells the loop. After an end was
    /// requested, only an abort may follow.</summary>
    private void Post(ReadOnlySpan<byte> bytes, StreamEndRequest end = StreamEndRequest.None,
        bool isInsideFlush = false)
    {
        if (_outbox.Put(_loop.Buffers, bytes, end, isInsideFlush))
            PostAgain();
    }

    /// <summary>Makes the loop look at the stream.</summary>
    private void PostAgain()
    {
        if (_outbox.TryMarkPosted())
            PostToLoop();
    }

    // The loop calls everything below.

    /// <summary>Accepts nothing more: releases the producer, and tells it if the client left.</summary>
    internal void OnClosed(ClientEnd end)
    {
        _isGone = end != ClientEnd.Completed;
        _outbox.Close(_loop.Buffers);
        if (Volatile.Read(ref _waiting) == 1)
            WakeWaiter();
        // Its callbacks run on the thread pool, and their exceptions stay there.
        if (_isGone)
            Cancel();
    }
}
