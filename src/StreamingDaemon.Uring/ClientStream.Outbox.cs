using StreamingDaemon.Uring.Buffers;

namespace StreamingDaemon.Uring;

/// <summary>What a producer said of the end of its stream.</summary>
internal enum StreamEndRequest
{
    None = 0,

    /// <summary>FIN, after what was flushed.</summary>
    Complete = 1,

    /// <summary>At once.</summary>
    Abort = 2,
}

// The outbox: what was flushed and the loop has not taken. Producers fill it, the loop empties it with one
// send. What travels in the Channel is the stream itself, and only once at a time: tokens that pile up cost
// one entry and one send together, and the Channel never holds more entries than there are streams.
public sealed partial class ClientStream
{
    // Guards the three below, for as long as a few bytes are copied.
    private SpinLock _gate = new(enableThreadOwnerTracking: false);
    private NativeBuffer _outbox;
    private bool _endsInsideFlush;
    private bool _closed;

    private int _endRequested;
    private int _isPosted;

    private bool IsClosed => Volatile.Read(ref _closed);

    internal StreamEndRequest EndRequested => (StreamEndRequest)Volatile.Read(ref _endRequested);

    /// <summary>Puts bytes behind those that wait, or says how the stream ends, or both; the loop is told.
    /// Once an end was asked for, only an abort may follow.</summary>
    private void Post(ReadOnlySpan<byte> bytes, StreamEndRequest end = StreamEndRequest.None,
        bool isInsideFlush = false)
    {
        bool changes;
        Enter();
        try
        {
            changes = PutIn(bytes, end, isInsideFlush);
        }
        finally
        {
            // Without memory for the bytes too: the loop would wait for the gate for ever.
            _gate.Exit(useMemoryBarrier: false);
        }

        if (changes)
            PostAgain();
    }

    /// <summary>Makes the loop look at the stream.</summary>
    private void PostAgain()
    {
        // The exchange is a full fence: what was put in is seen by whoever finds the stream in the Channel.
        if (Interlocked.Exchange(ref _isPosted, 1) == 0)
            PostToLoop();
    }

    /// <summary>With the gate held.</summary>
    /// <returns>True where the loop has something to do.</returns>
    private bool PutIn(ReadOnlySpan<byte> bytes, StreamEndRequest end, bool isInsideFlush)
    {
        var changes = false;
        // Here, and not at a look before: the flush may be a backend's that was left behind, which goes on.
        if (_endsInsideFlush && end == StreamEndRequest.Complete)
        {
            end = StreamEndRequest.Abort;
            bytes = [];
        }

        if (!_closed && bytes.Length > 0 && _endRequested == (int)StreamEndRequest.None)
        {
            _loop.Buffers.EnsureRoom(ref _outbox, bytes.Length);
            _outbox.Append(bytes);
            Volatile.Write(ref _endsInsideFlush, isInsideFlush);
            Interlocked.Add(ref _unsent, bytes.Length);
            changes = true;
        }

        if (end > EndRequested)
        {
            // Nothing follows from it once it is closed, but the handler did end its stream.
            Volatile.Write(ref _endRequested, (int)end);
            changes = !_closed;
        }

        return changes;
    }

    // What follows is called by the loop.

    /// <summary>It was taken from the Channel: what is put in from now on posts it again.</summary>
    internal void OnTaken() => Interlocked.Exchange(ref _isPosted, 0);

    /// <summary>Is there anything to send or to end? Whatever comes a moment later posts the
    /// stream.</summary>
    internal bool HasWork
    {
        get
        {
            Enter();
            var hasWork = _outbox.Length > 0 || _endRequested != (int)StreamEndRequest.None;
            _gate.Exit(useMemoryBarrier: false);
            return hasWork;
        }
    }

    /// <summary>Moves what waits into an empty buffer.</summary>
    /// <param name="bytes">The block changes its owner.</param>
    /// <param name="endsInsideFlush">The rest of a flush is still to come: nothing may come
    /// between.</param>
    /// <returns>False where nothing waits.</returns>
    internal bool TryTake(ref NativeBuffer bytes, out bool endsInsideFlush)
    {
        Enter();
        endsInsideFlush = _endsInsideFlush;
        var any = _outbox.Length > 0;
        if (any)
        {
            bytes = _outbox;
            _outbox = default;
        }

        _gate.Exit(useMemoryBarrier: false);
        return any;
    }

    /// <summary>Nothing more is taken: releases the producer, and tells it where the client left
    /// first.</summary>
    internal void OnClosed(ClientEnd end)
    {
        _isGone = end != ClientEnd.Completed;
        Enter();
        _closed = true;
        _loop.Buffers.Return(ref _outbox);
        _gate.Exit(useMemoryBarrier: true);
        if (Volatile.Read(ref _waiting) == 1)
            WakeWaiter();
        // Its callbacks run on the thread pool, and what they throw stays there.
        if (_isGone)
            Cancel();
    }

    private void Enter()
    {
        var taken = false;
        _gate.Enter(ref taken);
    }
}
