using System.Buffers;
using System.Diagnostics;
using System.Threading.Tasks.Sources;

namespace StreamingDaemon.Uring;

// Backpressure: how a producer waits for a client that is behind, and how the loop wakes it. It waits before
// it posts, so that what one client holds never passes the limit.
public sealed partial class ClientStream
{
    /// <summary>A flush larger than the limit travels in pieces of this.</summary>
    private const int LargestPiece = 16 * 1024;

    /// <summary>Kept out of the limit for the last words, which <see cref="Complete"/> posts without
    /// waiting.</summary>
    private const int EndReserve = 1024;

    // One waiter, woken by the loop once the client took enough of what is unsent.
    private RoomSource? _room;
    private int _waiting;

    private long Limit =>
        Math.Max(_loop.Options.MaxPendingBytes - EndReserve, _loop.Options.MaxPendingBytes / 2);

    /// <summary>While memory is tight, one flush at a time for each client: what all of them together have
    /// ahead would else pass the budget, however small each one's limit is.</summary>
    private bool HasRoomFor(int bytes) => _outbox.Unsent is var unsent
        && unsent + bytes <= Limit && (unsent == 0 || !_loop.Options.Memory.IsTight);

    private ValueTask<bool> FlushWhenThereIsRoomAsync(CancellationToken cancellationToken)
    {
        var (buffer, length) = (_buffer!, _written);
        _buffer = null;
        _written = 0;
        return length <= Limit
            ? FlushWholeAsync(buffer, length, cancellationToken)
            : FlushPiecesAsync(buffer, length, cancellationToken);
    }

    /// <summary>All or nothing: cancelling cuts no event in half.</summary>
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
            ArrayPool<byte>.Shared.Return(buffer);
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
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private ValueTask<bool> WaitForRoom(int bytes, CancellationToken cancellationToken)
    {
        if (IsClosed || HasRoomFor(bytes))
            return new ValueTask<bool>(!IsClosed);

        // Most clients are never behind, and hold none.
        _room ??= new RoomSource();
        var room = _room.Reset();
        // Not at the first byte of room: a producer that is far ahead is woken for a good part at once.
        var wakeAt = _loop.Options.Memory.IsTight ? 0 : Math.Min(Limit / 2, Limit - bytes);
        _room.WakeAtUnsent = wakeAt;
        Interlocked.Exchange(ref _waiting, 1);
        // The loop may have made room, or closed, between the look above and the flag: then nobody wakes us.
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
            _room!.SetException(new OperationCanceledException(token));
    }

    // What follows is called by the loop.

    /// <summary>The kernel took bytes: the producer's, or the loop's own keep-alive.</summary>
    internal void OnSent(int bytes, bool ofProducer)
    {
        BytesSent += bytes;
        if (!ofProducer)
            return;
        var unsent = _outbox.OnSent(bytes);
        if (Volatile.Read(ref _waiting) == 1 && unsent <= _room!.WakeAtUnsent)
            WakeWaiter();
    }

    private void WakeWaiter()
    {
        if (Interlocked.Exchange(ref _waiting, 0) == 1)
            _room!.SetResult(!IsClosed);
    }

    /// <summary>What the producer awaits, again and again.</summary>
    private sealed class RoomSource : IValueTaskSource<bool>
    {
        private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = true };

        /// <summary>Written before the flag that somebody waits is set, read after it was seen.</summary>
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
