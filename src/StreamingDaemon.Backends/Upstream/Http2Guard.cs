using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// The bytes of one HTTP/2 connection, with what the HTTP client lacks:
/// - A peer that sends frames without anything in them, one after the other, loses its connection. The
///   client reads them for ever, each costs nine bytes to send, and no stream gets anything (RFC 9113,
///   section 10.5).
/// - Frames of unknown types are ignored (section 4.1). The client ends the connection and all its streams.
/// - Data is read before the end that follows it: a reset, a GOAWAY, a FIN, or a frame that breaks the
///   protocol (a WINDOW_UPDATE of 0, section 6.9; a push that the client's SETTINGS forbid). The client
///   throws away what a stream has not read by then, perhaps the end of a whole answer.
/// - If the peer allows few streams, the connection opens only when its SETTINGS allow one
///   (<see cref="Http2Opening"/>).
/// </summary>
/// <param name="inner">The connection.</param>
/// <param name="streams">What the upstream's connections have allowed so far.</param>
internal sealed class Http2Guard(Stream inner, Http2Streams streams) : Stream
{
    /// <summary>Empty DATA frames accepted in a row: proxies send one now and then.</summary>
    private const int MaxEmptyFrames = 1_000;

    /// <summary>Frames of other kinds accepted in a second: WINDOW_UPDATE, PRIORITY, unknown ones. A server
    /// that takes 100 MB of prompts in a second sends about as many.</summary>
    private const int MaxOtherFrames = 20_000;

    /// <summary>A PING or SETTINGS counts for this many: each costs an answer.</summary>
    private const int FramesPerAnswered = 20;

    /// <summary>How long data may need to get to its reader, ms. The connection's other streams wait
    /// too.</summary>
    private const int SettleMs = 100;

    private const int HeadBytes = 9;
    private const int TypeAt = 3;
    private const int StreamAt = 5;
    private const byte Data = 0;
    private const byte Headers = 1;
    private const byte RstStream = 3;
    private const byte Settings = 4;
    private const byte PushPromise = 5;
    private const byte Ping = 6;
    private const byte GoAway = 7;
    private const byte WindowUpdate = 8;
    private const byte Continuation = 9;
    private const byte EndStream = 1;
    private const byte Ack = 1;

    /// <summary>ALTSVC (RFC 7838): a type that the client knows and ignores on stream 0.</summary>
    private const byte AltSvc = 0xa;

    private readonly Http2Opening _opening = new(streams);
    private readonly byte[] _head = new byte[HeadBytes];
    private int _headLength;
    private int _payloadLeft;
    private int _emptyFrames;
    private int _otherFrames;
    private long _otherSinceMs;
    private bool _isSettings;
    private bool _isGoAway;

    /// <summary>When data came last (TickCount64).</summary>
    private long _dataAtMs = -SettleMs;

    /// <summary>Bytes from a stream's end on, which wait.</summary>
    private ReadOnlyMemory<byte> _held;

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
        _opening.OnRead();
        if (!_held.IsEmpty)
            return await ReadHeldAsync(buffer, cancellationToken).ConfigureAwait(false);
        int count;
        try
        {
            count = await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException)
        {
            await SettleAsync(cancellationToken).ConfigureAwait(false);
            throw;
        }

        // The client first waits for data without a buffer.
        if (buffer.IsEmpty)
            return count;
        var passed = Look(buffer.Span[..count]);
        if (passed > 0 && passed < count)
            _held = buffer[passed..count].ToArray();
        else if (passed < count || count == 0)
            await SettleAsync(cancellationToken).ConfigureAwait(false);
        return passed > 0 ? passed : count;
    }

    public override ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_opening.IsAwaited)
            return new(_opening.SendPrefaceAsync(inner, buffer, cancellationToken));
        var write = inner.WriteAsync(buffer, cancellationToken);
        return write.IsCompletedSuccessfully ? write : FinishWriteAsync(write);
    }

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
        {
            inner.Dispose();
            _opening.OnEnd();
        }

        base.Dispose(disposing);
    }

    private async ValueTask<int> ReadHeldAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        await SettleAsync(cancellationToken).ConfigureAwait(false);
        var count = Math.Min(_held.Length, buffer.Length);
        _held[..count].CopyTo(buffer);
        _held = _held[count..];
        return count;
    }

    private Task SettleAsync(CancellationToken cancellationToken)
    {
        var left = SettleMs - (Environment.TickCount64 - _dataAtMs);
        return left > 0 ? Task.Delay((int)left, cancellationToken) : Task.CompletedTask;
    }

    /// <summary>A connection that takes no more bytes may still have brought some.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask FinishWriteAsync(ValueTask write)
    {
        try
        {
            await write.ConfigureAwait(false);
        }
        catch (IOException)
        {
            await Task.Delay(SettleMs).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Goes from frame head to frame head (RFC 9113, section 4.1).</summary>
    /// <returns>How many bytes may be read at once: those before an end that may come too soon.</returns>
    private int Look(Span<byte> bytes)
    {
        int? endAt = null;
        var at = 0;
        while (at < bytes.Length)
        {
            if (_payloadLeft > 0)
            {
                var skipped = Math.Min(_payloadLeft, bytes.Length - at);
                _payloadLeft -= skipped;
                if (_isSettings)
                    _opening.OnSettings(bytes.Slice(at, skipped), isLast: _payloadLeft == 0);
                else if (_isGoAway)
                    _opening.OnGoAway(bytes.Slice(at, skipped));
                at += skipped;
                continue;
            }

            var (start, taken) = (at - _headLength, Math.Min(HeadBytes - _headLength, bytes.Length - at));
            bytes.Slice(at, taken).CopyTo(_head.AsSpan(_headLength));
            _headLength += taken;
            at += taken;
            if (_headLength > TypeAt && _head[TypeAt] > AltSvc)
                MakeIgnored(bytes, start);
            if (_headLength < HeadBytes)
                break;
            _headLength = 0;
            OnFrame((int)(BinaryPrimitives.ReadUInt32BigEndian(_head) >> 8), _head[TypeAt], _head[4]);
            var isEnd = _head[TypeAt] is RstStream or GoAway or PushPromise
                || (_head[TypeAt] == WindowUpdate && IsNothing(bytes[at..]));
            if (isEnd && Environment.TickCount64 - _dataAtMs < SettleMs)
                endAt ??= Math.Max(start, 0);
        }

        return endAt ?? bytes.Length;
    }

    /// <summary>Whether the increment of a WINDOW_UPDATE is 0.</summary>
    private static bool IsNothing(ReadOnlySpan<byte> payload) =>
        payload.Length >= sizeof(uint) && (BinaryPrimitives.ReadUInt32BigEndian(payload) << 1) == 0;

    /// <summary>Makes a frame of an unknown type one that the client ignores.</summary>
    /// <param name="bytes">What was read.</param>
    /// <param name="start">Where the frame begins in it; below 0 if it began before.</param>
    private static void MakeIgnored(Span<byte> bytes, int start)
    {
        for (var i = Math.Max(TypeAt, -start); i < HeadBytes && start + i < bytes.Length; i++)
        {
            if (i == TypeAt)
                bytes[start + i] = AltSvc;
            else if (i >= StreamAt)
                bytes[start + i] = 0;
        }
    }

    private void OnFrame(int length, byte type, byte flags)
    {
        _payloadLeft = length;
        switch (type)
        {
            // Only what a stream gets is progress: PING and the like would hide the flood.
            case Data when length == 0 && (flags & EndStream) == 0:
                if (++_emptyFrames > MaxEmptyFrames)
                    throw new UpstreamFloodException("more than 1000 empty DATA frames in a row");
                break;
            case Data:
                _emptyFrames = 0;
                _dataAtMs = Environment.TickCount64;
                break;
            case Headers or Continuation or RstStream:
                _emptyFrames = 0;
                break;
            default:
                CountOther(type is Ping or Settings && (flags & Ack) == 0 ? FramesPerAnswered : 1);
                break;
        }

        _isGoAway = type == GoAway;
        _isSettings = type == Settings && (flags & Ack) == 0 && !_opening.AllowsStream;
        if (_isSettings && length == 0)
            _opening.OnSettings([], isLast: true);
    }

    private void CountOther(int weight)
    {
        var now = Environment.TickCount64;
        if (now - _otherSinceMs > 1_000)
            (_otherSinceMs, _otherFrames) = (now, 0);
        if ((_otherFrames += weight) > MaxOtherFrames)
            throw new UpstreamFloodException("a flood of frames that bring nothing");
    }
}

/// <summary>The peer sends frames that hold nothing.</summary>
internal sealed class UpstreamFloodException(string message) : IOException(message);
