using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using StreamingDaemon.Uring.Connections;
using StreamingDaemon.Uring.Loop;

namespace StreamingDaemon.Uring;

/// <summary>
/// One client, as its producer sees it: write into it (it is an <see cref="IBufferWriter{T}"/>), flush,
/// complete. Used by one thread at a time; <see cref="Abort"/> may come from any.
/// </summary>
[SuppressMessage("Naming", "CA1711", Justification = "It streams to a client; it is no System.IO.Stream.")]
[SuppressMessage("Design", "CA1001",
    Justification = "A token source without a timer holds nothing to dispose.")]
public sealed partial class ClientStream : IBufferWriter<byte>, IThreadPoolWorkItem
{
    private const int SmallestRent = 256;

    private readonly EventLoop _loop;
    private readonly CancellationTokenSource _cancellation = new();
    private readonly TaskCompletionSource<ClientEnd> _ended =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private byte[]? _buffer;
    private int _written;
    private byte[]? _handoffBuffer;
    private readonly int _handoffLength;
    private int _endRequested;
    private volatile bool _closed;
    private volatile bool _isGone;
    private volatile bool _allowsKeepAlive;

    internal ClientStream(EventLoop loop, ClientConnection connection, byte[] handoffBuffer,
        int handoffLength, HandoffAdmission admission, long acceptedTimestamp)
    {
        _loop = loop;
        Connection = connection;
        _handoffBuffer = handoffBuffer;
        _handoffLength = handoffLength;
        Admission = admission;
        AcceptedTimestamp = acceptedTimestamp;
    }

    /// <summary>The slot; valid for the loop only, and only while it still names this stream.</summary>
    internal ClientConnection Connection { get; }

    /// <summary>Is it to be served, or to be told why not?</summary>
    public HandoffAdmission Admission { get; }

    /// <summary>The handoff data, valid until <see cref="ReleaseHandoffData"/> or the end of the
    /// handler.</summary>
    public ReadOnlyMemory<byte> HandoffData =>
        _handoffBuffer.AsMemory(0, _handoffBuffer is null ? 0 : _handoffLength);

    /// <summary>When the handoff was accepted (<see cref="System.Diagnostics.Stopwatch"/> ticks).</summary>
    public long AcceptedTimestamp { get; }

    /// <summary>Fires the moment the connection is over without having been completed
    /// (<see cref="IsGone"/>), or <see cref="Cancel"/> is called: the one token of all that is done for this
    /// client.</summary>
    public CancellationToken Cancelled => _cancellation.Token;

    /// <summary>Is the connection over without having been completed?</summary>
    public bool IsGone => _isGone;

    /// <summary>Fires <see cref="Cancelled"/>; the connection stays. From any thread; callbacks run on the
    /// thread pool.</summary>
    public void Cancel() => _ = _cancellation.CancelAsync();

    /// <summary>Ends when the loop is done with the stream: the end of stream was sent, or the client
    /// dropped.</summary>
    public Task<ClientEnd> Ended => _ended.Task;

    /// <summary>Bytes that the kernel took; final once <see cref="Ended"/> has ended.</summary>
    public long BytesSent { get; private set; }

    /// <summary>A flush larger than the limit of pending bytes was cancelled: only its beginning was
    /// sent.</summary>
    public bool IsCut { get; private set; }

    /// <summary>Gives the handoff data's buffer back before the stream ends.</summary>
    public void ReleaseHandoffData()
    {
        if (Interlocked.Exchange(ref _handoffBuffer, null) is { } buffer)
            ArrayPool<byte>.Shared.Return(buffer);
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
    /// <returns>False where the client is gone: nothing that is written from now on goes anywhere.</returns>
    /// <exception cref="OperationCanceledException">The token fired while the client was behind: nothing of
    /// what was written is sent, unless <see cref="IsCut"/>.</exception>
    public ValueTask<bool> FlushAsync(CancellationToken cancellationToken = default)
    {
        if (_closed)
        {
            DropBuffer();
            return new ValueTask<bool>(false);
        }

        if (_written == 0)
            return new ValueTask<bool>(true);
        if (!HasRoomFor(_written))
            return FlushWhenThereIsRoomAsync(cancellationToken);

        var write = TakeBuffer();
        Interlocked.Add(ref _unsent, write.Length);
        // Where the Channel is full, the wait is for the loop.
        return _loop.TryPost(write) ? new ValueTask<bool>(true) : PostAsync(write);
    }

    /// <summary>
    /// From the next flush on, while nothing is flushed for
    /// <see cref="HandoffServerOptions.KeepAliveIntervalMs"/>, the loop sends
    /// <see cref="HandoffServerOptions.KeepAlive"/>. Every flush must end where those bytes may follow.
    /// </summary>
    public void BeginKeepAlive() => _allowsKeepAlive = true;

    /// <summary>Read by the loop with a send's completion, so it is seen no sooner than the flush after
    /// it.</summary>
    internal bool AllowsKeepAlive => _allowsKeepAlive;

    /// <summary>Ends the stream after what was written, in order (FIN). Does not wait. At most
    /// once.</summary>
    public void Complete()
    {
        if (_written > 0 && !_closed)
        {
            var write = TakeBuffer();
            Interlocked.Add(ref _unsent, write.Length);
            _loop.Post(write);
        }

        RequestEnd(OutboundKind.Complete);
    }

    /// <summary>Ends the connection now; what is unsent is dropped. From any thread, at any time.</summary>
    public void Abort() => RequestEnd(OutboundKind.Abort);

    /// <summary>Posts what was written without waiting for room; for a few bytes such as a response
    /// head.</summary>
    public void FlushWithoutWaiting()
    {
        if (_closed)
        {
            DropBuffer();
        }
        else if (_written > 0)
        {
            var write = TakeBuffer();
            Interlocked.Add(ref _unsent, write.Length);
            _loop.Post(write);
        }
    }

    void IThreadPoolWorkItem.Execute() => _ = RunAsync();

    private async Task RunAsync()
    {
        try
        {
            await _loop.Handler.HandleAsync(this).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            _loop.Handler.OnFault(this, e);
        }
        finally
        {
            if (Volatile.Read(ref _endRequested) == 0)
                Abort();
            ReleaseHandoffData();
            DropBuffer();
            _loop.OnHandlerReturned();
        }
    }

    private void RequestEnd(OutboundKind kind)
    {
        // An abort may follow a completion (the client does not read on); a completion follows nothing.
        var previous = Interlocked.Exchange(ref _endRequested, (int)kind);
        if (!_closed && (previous == 0 || (kind == OutboundKind.Abort && previous != (int)kind)))
            _loop.Post(new OutboundWrite(this, null, 0, kind));
    }

    private OutboundWrite TakeBuffer()
    {
        var write = new OutboundWrite(this, _buffer, _written, OutboundKind.Data);
        _buffer = null;
        _written = 0;
        return write;
    }

    private void DropBuffer()
    {
        if (_buffer is { } buffer)
            ArrayPool<byte>.Shared.Return(buffer);
        _buffer = null;
        _written = 0;
    }
}
