using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring;

/// <summary>
/// One client, as its producer sees it: write into it (it is an <see cref="IBufferWriter{T}"/>), flush,
/// complete. Used by one thread at a time; <see cref="Abort"/> may come from any.
/// </summary>
[SuppressMessage("Naming", "CA1711", Justification = "It streams to a client; it is no System.IO.Stream.")]
[SuppressMessage("Design", "CA1001",
    Justification = "A token source without a timer holds nothing to dispose.")]
public sealed partial class ClientStream : IBufferWriter<byte>
{
    private const int SmallestRent = 256;

    private readonly LoopContext _loop;
    private readonly CancellationTokenSource _cancellation = new();

    private byte[]? _buffer;
    private int _written;
    private NativeBuffer _handoffData;
    private bool _handoffDataReleased;
    private Task? _handling;
    private volatile bool _isGone;
    private volatile bool _allowsKeepAlive;

    internal ClientStream(LoopContext loop, ClientConnection connection, in ReceivedClient received)
    {
        _loop = loop;
        _streamBytes = received.StreamBytes;
        if (received.Admission == HandoffAdmission.Admitted)
            _requestBytes = MemoryBudget.ForHandoff(received.HandoffBytes);
        Connection = connection;
        _handoffData = received.Data;
        Take(received);
        Admission = received.Admission;
        AcceptedTimestamp = received.AcceptedTimestamp;
    }

    /// <summary>The slot. Only the loop may use it, and only while the slot still names this
    /// stream.</summary>
    internal ClientConnection Connection { get; }

    /// <summary>Is the client served, or told why not?</summary>
    public HandoffAdmission Admission { get; }

    /// <summary>The handoff data, valid until <see cref="ReleaseHandoffData"/> or the end of the
    /// handler.</summary>
    public ReadOnlySpan<byte> HandoffData =>
        Volatile.Read(ref _handoffDataReleased) ? [] : _handoffData.Bytes;

    /// <summary>Does the kernel encrypt what is sent (kernel TLS)? Known when the handler is
    /// called.</summary>
    public bool IsTls { get; private set; }

    /// <summary>When the handoff was accepted (<see cref="System.Diagnostics.Stopwatch"/> ticks).</summary>
    public long AcceptedTimestamp { get; }

    /// <summary>Fires as soon as the connection is over without having been completed (<see cref="IsGone"/>),
    /// or <see cref="Cancel"/> is called. All work for this client uses this one token.</summary>
    public CancellationToken Cancelled => _cancellation.Token;

    /// <summary>Is the connection over without having been completed?</summary>
    public bool IsGone => _isGone;

    /// <summary>Fires <see cref="Cancelled"/>; the connection stays. From any thread; callbacks run on the
    /// thread pool.</summary>
    public void Cancel() => _ = _cancellation.CancelAsync();

    /// <summary>Bytes that the kernel took; final once <see cref="Ended"/> has completed.</summary>
    public long BytesSent { get; private set; }

    /// <summary>A flush larger than the limit of pending bytes was sent only in part so far: it is under way,
    /// or was cancelled.</summary>
    public bool IsCut => _outbox.EndsInsideFlush;

    /// <summary>Returns the handoff data's buffer before the stream ends.</summary>
    public void ReleaseHandoffData()
    {
        if (!Interlocked.Exchange(ref _handoffDataReleased, true))
            _loop.Buffers.Return(ref _handoffData);
    }

    /// <inheritdoc/>
    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    /// <inheritdoc/>
    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        var needed = _written + Math.Max(sizeHint, 1);
        if (_buffer is null)
        {
            _buffer = ArrayPool<byte>.Shared.Rent(Math.Max(needed, SmallestRent));
        }
        else if (needed > _buffer.Length)
        {
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(needed, _buffer.Length * 2));
            _buffer.AsSpan(0, _written).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = larger;
        }

        return _buffer.AsMemory(_written);
    }

    // Bytes written and not flushed belong to the producer: its thread rents and returns their buffer, at no
    // cost. Flushing appends a copy to what the loop will send (ClientStream.Outbox.cs).

    /// <inheritdoc/>
    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, (_buffer?.Length ?? 0) - _written);
        _written += count;
    }

    /// <summary>
    /// Sends what was written. Completes at once while there is room below
    /// <see cref="HandoffServerOptions.MaxPendingBytes"/>, else when the client has taken enough: awaiting it
    /// is the backpressure.
    /// </summary>
    /// <returns>False if the client is gone: nothing written from now on is sent.</returns>
    /// <exception cref="OperationCanceledException">The token fired while the client was behind: none of the
    /// written bytes are sent, unless <see cref="IsCut"/>.</exception>
    public ValueTask<bool> FlushAsync(CancellationToken cancellationToken = default)
    {
        if (IsClosed)
        {
            DropBuffer();
            return new ValueTask<bool>(false);
        }

        if (_written == 0)
            return new ValueTask<bool>(true);
        if (!HasRoomFor(_written))
            return FlushWhenThereIsRoomAsync(cancellationToken);
        Post(_buffer.AsSpan(0, _written));
        DropBuffer();
        return new ValueTask<bool>(true);
    }

    /// <summary>
    /// From the next flush on, while nothing is flushed for
    /// <see cref="HandoffServerOptions.KeepAliveIntervalMs"/>, the loop sends
    /// <see cref="HandoffServerOptions.KeepAlive"/>. Every flush must end where those bytes may follow.
    /// </summary>
    public void BeginKeepAlive() => _allowsKeepAlive = true;

    /// <summary>The loop reads it when a send completes, so it never sees it before the flush that follows
    /// it.</summary>
    internal bool AllowsKeepAlive => _allowsKeepAlive;

    /// <summary>Ends the stream after the written bytes, in order (FIN). Does not wait. At most once. If
    /// <see cref="IsCut"/>, it aborts: anything sent next would be read as the rest of that flush.</summary>
    public void Complete()
    {
        Post(_buffer.AsSpan(0, _written), StreamEndRequest.Complete);
        DropBuffer();
    }

    /// <summary>Ends the connection now and drops unsent bytes. From any thread, at any time.</summary>
    public void Abort() => Post([], StreamEndRequest.Abort);

    /// <summary>Posts the written bytes without waiting for room; for a few bytes such as a response
    /// head.</summary>
    public void FlushWithoutWaiting()
    {
        Post(_buffer.AsSpan(0, _written));
        DropBuffer();
    }

    private void CallHandler()
    {
        _loop.Statistics.OnClientStarted();
        try
        {
            _handling = _loop.Handlers.Handler.HandleAsync(this);
        }
        catch (Exception e)
        {
            _handling = Task.FromException(e);
        }

        // An async method that awaits it would be twice the size of this delegate, for each stream.
        if (_handling.IsCompleted)
            OnHandled();
        else
            _handling.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(OnHandled);
    }

    private void OnHandled()
    {
        try
        {
            _handling?.GetAwaiter().GetResult();
        }
        catch (Exception e)
        {
            _loop.Handlers.Handler.OnFault(this, e);
        }
        finally
        {
            EndHandling();
        }
    }

    private void DropBuffer()
    {
        if (_buffer is { } buffer)
            ArrayPool<byte>.Shared.Return(buffer);
        _buffer = null;
        _written = 0;
    }
}
