using System.Runtime.CompilerServices;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// The response's body on its way to the SSE parser: reports that bytes came, refuses lines without end, and
/// can be torn down from another thread.
/// </summary>
/// <remarks>
/// The parser buffers a line, and the data of an event, for as long as it takes: the limit must be here.
/// <see cref="Abort"/> never disposes the response under a read in progress, because disposing an HTTP/1.1
/// body touches the buffer that the read fills; such a read has the token and ends by it.
/// </remarks>
internal sealed class UpstreamStream(
    IDisposable response, Stream body, IDeltaSink sink, int maxEventBytes) : Stream
{
    private const int Idle = 0;
    private const int Reading = 1;
    private const int Aborted = 2;

    private EventLimit _limit = new(maxEventBytes);
    private int _state = Idle;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Ends the upstream's stream now. From any thread, any number of times.</summary>
    public void Abort()
    {
        if (Interlocked.Exchange(ref _state, Aborted) == Idle) response.Dispose();
    }

    /// <exception cref="EventTooLongException">A line or an event exceeds the limit.</exception>
    /// <exception cref="OperationCanceledException">The token fired, or <see cref="Abort"/> was
    /// called.</exception>
    // Pooled, because nearly every token is a read that has to wait.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(
        Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_limit.IsExceeded) throw new EventTooLongException(maxEventBytes);
        if (Interlocked.CompareExchange(ref _state, Reading, Idle) != Idle)
            throw new OperationCanceledException(cancellationToken);

        int count;
        try
        {
            count = await body.ReadAsync(buffer, cancellationToken);
        }
        finally
        {
            // Aborted meanwhile: Abort left the disposal to us.
            if (Interlocked.CompareExchange(ref _state, Idle, Reading) != Reading) response.Dispose();
        }

        if (count == 0) return 0;
        sink.OnUpstreamActivity();
        var accepted = _limit.Accept(buffer.Span[..count]);
        return accepted > 0 ? accepted : throw new EventTooLongException(maxEventBytes);
    }

    public override Task<int> ReadAsync(
        byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }
}

/// <summary>The upstream sent more without an end than the limit allows.</summary>
internal sealed class EventTooLongException(int limit)
    : Exception($"the upstream sent an event of more than {limit} bytes");
