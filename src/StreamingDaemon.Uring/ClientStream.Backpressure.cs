using System.Buffers;
using System.Threading.Tasks.Sources;
using StreamingDaemon.Uring.Loop;

namespace StreamingDaemon.Uring;

// Backpressure: how a producer waits for a client that is behind, and how the loop wakes it.
public sealed partial class ClientStream : IValueTaskSource<bool>
{
    // One waiter, woken by the loop once the client took enough of what is unsent.
    private ManualResetValueTaskSourceCore<bool> _room = new() { RunContinuationsAsynchronously = true };
    private int _waiting;
    private long _unsent;

    private async ValueTask<bool> FlushPiecesAsync(CancellationToken cancellationToken)
    {
        var all = TakeBuffer();
        // What fits the limit is posted whole and waits behind its end, so that cancelling cuts nothing.
        var inOne = all.Length <= _loop.Options.MaxPendingBytes;
        try
        {
            for (var offset = 0; offset < all.Length; offset += LargestPiece)
            {
                var length = Math.Min(LargestPiece, all.Length - offset);
                var piece = ArrayPool<byte>.Shared.Rent(length);
                all.Buffer.AsSpan(offset, length).CopyTo(piece);
                Interlocked.Add(ref _unsent, length);
                await _loop.PostAsync(new OutboundWrite(this, piece, length, OutboundKind.Data))
                    .ConfigureAwait(false);
                IsCut = !inOne && offset + length < all.Length;
                if (!inOne && !await WaitForRoom(cancellationToken).ConfigureAwait(false))
                    return false;
            }

            return await WaitForRoom(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(all.Buffer!);
        }
    }

    private async ValueTask<bool> PostAndWaitAsync(OutboundWrite write, CancellationToken cancellationToken)
    {
        // Not cancelled: the loop drains the channel as long as the server lives, and a write counts as
        // unsent.
        await _loop.PostAsync(write).ConfigureAwait(false);
        return await WaitForRoom(cancellationToken).ConfigureAwait(false);
    }

    private ValueTask<bool> WaitForRoom(CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _unsent) <= _loop.Options.MaxPendingBytes)
            return new ValueTask<bool>(!_closed);

        _room.Reset();
        Interlocked.Exchange(ref _waiting, 1);
        // The loop may have made room, or closed, between the look above and the flag: then nobody wakes us.
        if ((Volatile.Read(ref _unsent) <= LowMark || _closed) && Interlocked.Exchange(ref _waiting, 0) == 1)
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

    private long LowMark => _loop.Options.MaxPendingBytes / 2;

    // What follows is called by the loop.

    internal void OnSent(int bytes)
    {
        BytesSent += bytes;
        if (Interlocked.Add(ref _unsent, -bytes) <= LowMark && Volatile.Read(ref _waiting) == 1)
            WakeWaiter();
    }

    /// <summary>Nothing more is taken: releases the producer, and tells it where the client left
    /// first.</summary>
    internal void OnClosed(ClientEnd end)
    {
        _closed = true;
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _waiting) == 1)
            WakeWaiter();
        // Its callbacks run on the thread pool, and what they throw stays there.
        if (end != ClientEnd.Completed)
            _ = _gone.CancelAsync();
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
