using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// The bytes of one HTTP/2 connection. Ends it if the peer sends empty DATA frames one after the other: the
/// HTTP client reads them for ever, each costs nine bytes to send, and no stream gets anything (RFC 9113,
/// section 10.5).
/// </summary>
/// <param name="inner">The connection.</param>
internal sealed class Http2FloodGuard(Stream inner) : Stream
{
    /// <summary>Empty DATA frames accepted in a row: proxies send one now and then.</summary>
    private const int MaxEmptyFrames = 1_000;

    private const int HeadBytes = 9;
    private const byte Data = 0;
    private const byte Headers = 1;
    private const byte EndStream = 1;

    private readonly byte[] _head = new byte[HeadBytes];
    private int _headLength;
    private int _payloadLeft;
    private int _emptyFrames;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(
        Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var count = await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        Look(buffer.Span[..count]);
        return count;
    }

    public override ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        inner.WriteAsync(buffer, cancellationToken);

    public override Task FlushAsync(CancellationToken cancellationToken) =>
        inner.FlushAsync(cancellationToken);

    public override void Flush() => inner.Flush();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => inner.Write(buffer, offset, count);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override async ValueTask DisposeAsync()
    {
        await inner.DisposeAsync();
        await base.DisposeAsync();
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            inner.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>Goes from frame head to frame head (RFC 9113, section 4.1).</summary>
    private void Look(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (_payloadLeft > 0)
            {
                var skipped = Math.Min(_payloadLeft, bytes.Length);
                _payloadLeft -= skipped;
                bytes = bytes[skipped..];
                continue;
            }

            var taken = Math.Min(HeadBytes - _headLength, bytes.Length);
            bytes[..taken].CopyTo(_head.AsSpan(_headLength));
            _headLength += taken;
            bytes = bytes[taken..];
            if (_headLength < HeadBytes)
                return;
            _headLength = 0;
            OnFrame((int)(BinaryPrimitives.ReadUInt32BigEndian(_head) >> 8), _head[3], _head[4]);
        }
    }

    private void OnFrame(int length, byte type, byte flags)
    {
        _payloadLeft = length;
        // Only what a stream gets is progress: PING and the like would hide the flood.
        if (type == Data && length == 0 && (flags & EndStream) == 0)
            _emptyFrames++;
        else if (type is Data or Headers)
            _emptyFrames = 0;
        if (_emptyFrames > MaxEmptyFrames)
            throw new UpstreamFloodException();
    }
}

/// <summary>The peer sends frames that hold nothing.</summary>
internal sealed class UpstreamFloodException() : IOException("more than 1000 empty DATA frames in a row");
