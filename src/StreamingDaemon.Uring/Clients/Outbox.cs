using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;

namespace StreamingDaemon.Uring.Clients;

/// <summary>How a producer asked its stream to end.</summary>
internal enum StreamEndRequest : byte
{
    None = 0,

    /// <summary>FIN, after what was flushed.</summary>
    Complete = 1,

    /// <summary>At once.</summary>
    Abort = 2,
}

/// <summary>
/// Flushed bytes that the loop has not taken. Producers fill it; the loop empties it with one send. The
/// loop's Channel carries the stream itself, at most once at a time: tokens that pile up cost one entry and
/// one send together. A mutable part of its stream, not an object of its own: use it in place.
/// </summary>
internal struct Outbox
{
    // Guards the three fields below, for as long as a few bytes are copied.
    private SpinLock _gate = new(enableThreadOwnerTracking: false);
    private NativeBuffer _bytes;
    private bool _endsInsideFlush;
    private bool _closed;

    private byte _endRequested;
    private bool _isPosted;
    private long _unsent;

    public Outbox()
    {
    }

    // Any thread may call what follows.

    /// <summary>Accepts nothing more: the loop is done with the client.</summary>
    public readonly bool IsClosed => Volatile.Read(in _closed);

    public readonly StreamEndRequest EndRequested => (StreamEndRequest)Volatile.Read(in _endRequested);

    /// <summary>Only a part of a flush was appended so far.</summary>
    public readonly bool EndsInsideFlush => Volatile.Read(in _endsInsideFlush);

    /// <summary>Appended bytes that the kernel has not taken.</summary>
    public readonly long Unsent => Volatile.Read(in _unsent);

    /// <summary>Appends bytes, or says how the stream ends, or both. After an end was requested, only an
    /// abort may follow.</summary>
    /// <param name="pool">The loop's.</param>
    /// <param name="bytes">Copied.</param>
    /// <param name="end">How the stream ends.</param>
    /// <param name="isInsideFlush">The rest of the flush is still to come.</param>
    /// <returns>True if the loop has something to do.</returns>
    public bool Put(
        NativeBufferPool pool, ReadOnlySpan<byte> bytes, StreamEndRequest end, bool isInsideFlush)
    {
        Enter();
        try
        {
            return PutLocked(pool, bytes, end, isInsideFlush);
        }
        finally
        {
            // Even without memory for the bytes: otherwise the loop would wait for the gate for ever.
            _gate.Exit(useMemoryBarrier: false);
        }
    }

    /// <summary>The exchange is a full fence: a thread that finds the stream in the Channel sees what was
    /// appended.</summary>
    /// <returns>False if it is in the Channel already.</returns>
    public bool TryMarkPosted() => !Interlocked.Exchange(ref _isPosted, true);

    private bool PutLocked(
        NativeBufferPool pool, ReadOnlySpan<byte> bytes, StreamEndRequest end, bool isInsideFlush)
    {
        var changes = false;
        // Here, not at an earlier look: the flush may come from a backend that was left behind and goes on.
        if (_endsInsideFlush && end == StreamEndRequest.Complete)
        {
            end = StreamEndRequest.Abort;
            bytes = [];
        }

        if (!_closed && bytes.Length > 0 && _endRequested == (byte)StreamEndRequest.None)
        {
            pool.EnsureRoom(ref _bytes, bytes.Length);
            _bytes.Append(bytes);
            Volatile.Write(ref _endsInsideFlush, isInsideFlush);
            Interlocked.Add(ref _unsent, bytes.Length);
            changes = true;
        }

        if (end > EndRequested)
        {
            // It has no effect once closed, but the handler did end its stream.
            Volatile.Write(ref _endRequested, (byte)end);
            changes = !_closed;
        }

        return changes;
    }

    // The loop calls everything below.

    /// <summary>The stream was taken from the Channel: the next append posts it again.</summary>
    public void OnTaken() => Interlocked.Exchange(ref _isPosted, false);

    /// <summary>Is there anything to send or to end? Whatever comes later posts the stream.</summary>
    public bool HasWork
    {
        get
        {
            Enter();
            var hasWork = _bytes.Length > 0 || _endRequested != (byte)StreamEndRequest.None;
            _gate.Exit(useMemoryBarrier: false);
            return hasWork;
        }
    }

    /// <summary>Moves what waits into an empty buffer.</summary>
    /// <param name="bytes">The block changes its owner.</param>
    /// <param name="endsInsideFlush">The rest of a flush is still to come: nothing may come
    /// between.</param>
    /// <returns>False if nothing waits.</returns>
    public bool TryTake(ref NativeBuffer bytes, out bool endsInsideFlush)
    {
        Enter();
        endsInsideFlush = _endsInsideFlush;
        var any = _bytes.Length > 0;
        if (any)
        {
            bytes = _bytes;
            _bytes = default;
        }

        _gate.Exit(useMemoryBarrier: false);
        return any;
    }

    /// <summary>The kernel took bytes.</summary>
    /// <returns>Those that are left.</returns>
    public long OnSent(int bytes)
    {
        var unsent = Interlocked.Add(ref _unsent, -bytes);
        Debug.Assert(unsent >= 0, "bytes were sent that nobody had flushed");
        return unsent;
    }

    /// <summary>Drops waiting bytes, and accepts nothing more.</summary>
    public void Close(NativeBufferPool pool)
    {
        Enter();
        _closed = true;
        pool.Return(ref _bytes);
        _gate.Exit(useMemoryBarrier: true);
    }

    private void Enter()
    {
        var taken = false;
        _gate.Enter(ref taken);
    }
}
