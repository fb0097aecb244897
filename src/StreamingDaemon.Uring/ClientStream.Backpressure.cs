using System.Buffers;
using System.Diagnostics;
using System.Threading.Tasks.Sources;

namespace StreamingDaemon.Uring;

// Backpressure: how a producer waits for a client that is behind, and how the loop wakes it. The wait comes
// before the post, so one client's pending bytes never pass the limit.
public sealed partial class ClientStream
{
    /// <summary>A flush larger than the limit is sent in pieces of this size.</summary>
    private const int LargestPiece = 16 * 1024;

    /// <summary>Reserved below the limit for the last bytes, which <see cref="Complete"/> posts without
    /// waiting.</summary>
    private const int EndReserve = 1024;

    // One waiter. The loop wakes it once the client took enough of the unsent bytes.
    private int _waiting;

    private long Limit =>
        Math.Max(_loop.Options.MaxPendingBytes - EndReserve, _loop.Options.MaxPendingBytes / 2);

    /// <summary>While memory is tight, each client has one flush at a time. Otherwise all clients together
    /// could pass the budget, however small the limit of each is.</summary>
    private bool HasRoomFor(int bytes) => _outbox.Unsent is var unsent
        && unsent + bytes <= Limit && (unsent == 0 || !_loop.Options.Memory.IsTight);

    private ValueTask<bool> FlushWhenThereIsRoomAsync(CancellationToken cancellationToken)
    {
        var (buffer, length) = (_buffer!, _written);
        _buffer = null;
        _written = 0;
        // It waits, and so does its memory.
        _loop.Options.Memory.Hold(buffer.Length);
        return length <= Limit
            ? FlushWholeAsync(buffer, length, cancellationToken)
            : FlushPiecesAsync(buffer, length, cancellationToken);
    }

    /// <summary>All or nothing: a cancelled flush never cuts an event in half.</summary>
    private async ValueTask<bool> FlushWholeAsync(
        byte[] buffer, int length, CancellationToken cancellationToken)
    {
        try
        {
            if (!await WaitForRoom(length, cancellationToken).ConfigureAwait(false))
                return false;
            Post(buffer.AsSpan(0, length));
            return !IsClosed;
        }
        finally
        {
            ReturnWaiting(buffer);
        }
    }

    private async ValueTask<bool> FlushPiecesAsync(
        byte[] buffer, int length, CancellationToken cancellationToken)
    {
        try
        {
            var largest = (int)Math.Min(LargestPiece, Limit);
            for (var offset = 0; offset < length; offset += largest)
            {
                var piece = Math.Min(largest, length - offset);
                if (!await WaitForRoom(piece, cancellationToken).ConfigureAwait(false))
                    return false;
                var isLast = offset + piece == length;
                Post(buffer.AsSpan(offset, piece), isInsideFlush: !isLast);
            }

            return !IsClosed;
        }
        finally
        {
            ReturnWaiting(buffer);
        }
    }

    private void ReturnWaiting(byte[] buffer)
    {
        _loop.Options.Memory.Return(buffer.Length);
        ArrayPool<byte>.Shared.Return(buffer);
    }

    private ValueTask<bool> WaitForRoom(int bytes, CancellationToken cancellationToken)
    {
        if (IsClosed || HasRoomFor(bytes))
            return new ValueTask<bool>(!IsClosed);

        // Most clients are never behind, and need none.
        var source = Rare.Room ??= new RoomSource();
        var room = source.Reset();
        // Not at the first free byte: a producer that is far ahead is woken once, for a good part of the
        // limit.
        var wakeAt = _loop.Options.Memory.IsTight ? 0 : Math.Min(Limit / 2, Limit - bytes);
        source.WakeAtUnsent = wakeAt;
        Interlocked.Exchange(ref _waiting, 1);
        // The loop may have made room, or closed, between the check above and the flag: then nobody wakes us.
        if ((_outbox.Unsent <= wakeAt || IsClosed) && Interlocked.Exchange(ref _waiting, 0) == 1)
            return new ValueTask<bool>(!IsClosed);
        return cancellationToken.CanBeCanceled
            ? WaitCancellableAsync(room, cancellationToken)
            : room;
    }

    private async ValueTask<bool> WaitCancellableAsync(
        ValueTask<bool> room, CancellationToken cancellationToken)
    {
        using var registration = cancellationToken.UnsafeRegister(
            static (state, token) => ((ClientStream)state!).CancelWait(token), this);
        return await room.ConfigureAwait(false);
    }

    private void CancelWait(CancellationToken token)
    {
        if (Interlocked.Exchange(ref _waiting, 0) == 1)
            _rare!.Room!.SetException(new OperationCanceledException(token));
    }

    // The loop calls everything below.

    /// <summary>The kernel took bytes: the producer's or the loop's own keep-alive.</summary>
    internal void OnSent(int bytes, bool ofProducer)
    {
        BytesSent += bytes;
        if (!ofProducer)
            return;
        var unsent = _outbox.OnSent(bytes);
        if (Volatile.Read(ref _waiting) == 1 && unsent <= _rare!.Room!.WakeAtUnsent)
            WakeWaiter();
    }

    private void WakeWaiter()
    {
        if (Interlocked.Exchange(ref _waiting, 0) == 1)
            _rare!.Room!.SetResult(!IsClosed);
    }

    /// <summary>The producer awaits this one object again and again.</summary>
    private sealed class RoomSource : IValueTaskSource<bool>
    {
        private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = true };

        /// <summary>Written before the flag that says somebody waits; read after that flag was
        /// seen.</summary>
        public long WakeAtUnsent { get; set; }

        public ValueTask<bool> Reset()
        {
            _core.Reset();
            return new ValueTask<bool>(this, _core.Version);
        }

        public void SetResult(bool hasRoom) => _core.SetResult(hasRoom);

        public void SetException(Exception exception) => _core.SetException(exception);

        public bool GetResult(short token) => _core.GetResult(token);

        public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token,
            ValueTaskSourceOnCompletedFlags flags) => _core.OnCompleted(continuation, state, token, flags);
    }
}
