using System.Buffers;
using System.Diagnostics;
using System.Threading.Tasks.Sources;
using StreamingDaemon.Uring.Loop;

namespace StreamingDaemon.Uring;

// Backpressure: how a producer waits for a client that is behind, and how the loop wakes it. It waits before
// it posts, so that what one client holds never passes the limit.
public sealed partial class ClientStream : IValueTaskSource<bool>
{
    /// <summary>A flush larger than the limit travels in pieces of this.</summary>
    private const int LargestPiece = 16 * 1024;

    /// <summary>Kept out of the limit for the last words, which <see cref="Complete"/> posts without
    /// waiting.</summary>
    private const int EndReserve = 1024;

    // One waiter, woken by the loop once the client took enough of what is unsent.
    private ManualResetValueTaskSourceCore<bool> _room = new() { RunContinuationsAsynchronously = true };
    private int _waiting;
    private long _wakeAtUnsent;
    private long _unsent;

    /// <summary>Bytes that were flushed and that the kernel has not taken.</summary>
    internal long UnsentBytes => Volatile.Read(ref _unsent);

    private long Limit =>
        Math.Max(_loop.Options.MaxPendingBytes - EndReserve, _loop.Options.MaxPendingBytes / 2);

    private bool HasRoomFor(int bytes) => Volatile.Read(ref _unsent) + bytes <= Limit;

    private ValueTask<bool> FlushWhenThereIsRoomAsync(CancellationToken cancellationToken)
    {
        var write = TakeBuffer();
        return write.Length <= Limit
            ? FlushWholeAsync(write, cancellationToken)
            : FlushPiecesAsync(write, cancellationToken);
    }

    /// <summary>All or nothing: cancelling cuts no event in half.</summary>
    private async ValueTask<bool> FlushWholeAsync(OutboundWrite write, CancellationToken cancellationToken)
    {
        var posted = false;
        try
        {
            if (!await WaitForRoom(write.Length, cancellationToken).ConfigureAwait(false))
                return false;
            posted = true;
        }
        finally
        {
            if (!posted)
                ArrayPool<byte>.Shared.Return(write.Buffer!);
        }

        Interlocked.Add(ref _unsent, write.Length);
        return await PostAsync(write).ConfigureAwait(false);
    }

    private async ValueTask<bool> FlushPiecesAsync(OutboundWrite all, CancellationToken cancellationToken)
    {
        try
        {
            var largest = (int)Math.Min(LargestPiece, Limit);
            for (var offset = 0; offset < all.Length; offset += largest)
            {
                var length = Math.Min(largest, all.Length - offset);
                if (!await WaitForRoom(length, cancellationToken).ConfigureAwait(false))
                    return false;
                var piece = ArrayPool<byte>.Shared.Rent(length);
                all.Buffer.AsSpan(offset, length).CopyTo(piece);
                var isLast = offset + length == all.Length;
                Interlocked.Add(ref _unsent, length);
                await PostAsync(new OutboundWrite(this, piece, length,
                    isLast ? OutboundKind.Data : OutboundKind.Piece)).ConfigureAwait(false);
                IsCut = !isLast;
            }

            return !_closed;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(all.Buffer!);
        }
    }

    /// <summary>Not cancelled: the loop drains the channel as long as the server lives.</summary>
    private async ValueTask<bool> PostAsync(OutboundWrite write)
    {
        await _loop.PostAsync(write).ConfigureAwait(false);
        return !_closed;
    }

    private ValueTask<bool> WaitForRoom(int bytes, CancellationToken cancellationToken)
    {
        if (_closed || HasRoomFor(bytes))
            return new ValueTask<bool>(!_closed);

        _room.Reset();
        // Not at the first byte of room: a producer that is far ahead is woken for a good part at once.
        var wakeAt = Math.Min(Limit / 2, Limit - bytes);
        Volatile.Write(ref _wakeAtUnsent, wakeAt);
        Interlocked.Exchange(ref _waiting, 1);
        // The loop may have made room, or closed, between the look above and the flag: then nobody wakes us.
        if ((Volatile.Read(ref _unsent) <= wakeAt || _closed) && Interlocked.Exchange(ref _waiting, 0) == 1)
            return new ValueTask<bool>(!_closed);
        return cancellationToken.CanBeCanceled
            ? WaitCancellableAsync(cancellationToken)
            : new ValueTask<bool>(this, _room.Version);
    }

    private async ValueTask<bool> WaitCancellableAsync(CancellationToken cancellationToken)
    {
        using var registration = cancellationToken.UnsafeRegister(
            static (state, token) => ((ClientStream)state!).CancelWait(token), this);
        return await new ValueTask<bool>(this, _room.Version).ConfigureAwait(false);
    }

    private void CancelWait(CancellationToken token)
    {
        if (Interlocked.Exchange(ref _waiting, 0) == 1)
            _room.SetException(new OperationCanceledException(token));
    }

    // What follows is called by the loop.

    /// <summary>The kernel took bytes: the producer's, or the loop's own keep-alive.</summary>
    internal void OnSent(int bytes, bool ofProducer)
    {
        BytesSent += bytes;
        if (!ofProducer)
            return;
        var unsent = Interlocked.Add(ref _unsent, -bytes);
        Debug.Assert(unsent >= 0, "bytes were sent that nobody had flushed");
        if (Volatile.Read(ref _waiting) == 1 && unsent <= Volatile.Read(ref _wakeAtUnsent))
            WakeWaiter();
    }

    /// <summary>Nothing more is taken: releases the producer, and tells it where the client left
    /// first.</summary>
    internal void OnClosed(ClientEnd end)
    {
        _isGone = end != ClientEnd.Completed;
        _closed = true;
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _waiting) == 1)
            WakeWaiter();
        // Its callbacks run on the thread pool, and what they throw stays there.
        if (_isGone)
            Cancel();
    }

    /// <summary>The loop is done with this stream, once or more often. Continuations run on the thread
    /// pool.</summary>
    internal void OnEnded(ClientEnd end) => _ended.TrySetResult(end);

    private void WakeWaiter()
    {
        if (Interlocked.Exchange(ref _waiting, 0) == 1)
            _room.SetResult(!_closed);
    }

    bool IValueTaskSource<bool>.GetResult(short token) => _room.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<bool>.GetStatus(short token) => _room.GetStatus(token);

    void IValueTaskSource<bool>.OnCompleted(Action<object?> continuation, object? state, short token,
        ValueTaskSourceOnCompletedFlags flags) => _room.OnCompleted(continuation, state, token, flags);
}
