using System.Buffers;
using System.Buffers.Binary;

namespace StreamingDaemon.MockLlm;

/// <summary>
/// The server's end of a connection: as much of RFC 9113 as equal answers need. It does not read a request's
/// headers: a request with a body is a chat completion, one without asks for the report.
/// </summary>
internal sealed class Http2Connection(
    Http2Server server, Answers answers, Stream wire, int maxStreams)
{
    private const int FrameHeadBytes = 9, MaxFrameBytes = 16_384;
    private const byte Data = 0, Headers = 1, Reset = 3, Settings = 4, Ping = 6, WindowUpdate = 8;
    private const byte EndStream = 1, Ack = 1, EndHeaders = 4;

    private readonly Lock _gate = new();
    private readonly ArrayBufferWriter<byte> _output = new(4096);
    private readonly Dictionary<int, Http2Stream> _streams = [];
    private readonly List<Http2Stream> _blocked = [];
    private long _window = 65_535;
    private int _initialWindow = 65_535;
    private bool _isTouched, _isClosed;

    // HPACK (RFC 7541): ":status 200" is entry 8, "content-type" the name of entry 31; nothing is indexed.
    private static readonly byte[] s_eventStreamHead = [0x88, 0x0f, 0x10, 17, .. "text/event-stream"u8];

    private static readonly byte[] s_textHead = [0x88, 0x0f, 0x10, 10, .. "text/plain"u8];

    /// <summary>Serves until the client leaves.</summary>
    /// <exception cref="IOException">The connection broke.</exception>
    /// <exception cref="InvalidDataException">The client does not speak HTTP/2.</exception>
    public async Task RunAsync()
    {
        var buffer = new byte[64 * 1024];
        try
        {
            var filled = await ReadPrefaceAsync(buffer);
            lock (_gate)
            {
                Span<byte> limit = stackalloc byte[6];
                BinaryPrimitives.WriteUInt16BigEndian(limit, 3); // SETTINGS_MAX_CONCURRENT_STREAMS
                BinaryPrimitives.WriteInt32BigEndian(limit[2..], maxStreams);
                Frame(Settings, 0, 0, limit);
            }

            while (true)
            {
                var used = Take(buffer.AsSpan(0, filled));
                Flush();
                buffer.AsSpan(used, filled - used).CopyTo(buffer);
                filled -= used;
                var read = await wire.ReadAsync(buffer.AsMemory(filled));
                if (read == 0)
                    return;
                filled += read;
            }
        }
        finally
        {
            lock (_gate)
                _isClosed = true;
        }
    }

    /// <summary>Writes everything gathered, in one piece.</summary>
    public void Flush()
    {
        lock (_gate)
        {
            _isTouched = false;
            if (_output.WrittenCount == 0 || _isClosed)
                return;
            try
            {
                wire.Write(_output.WrittenSpan);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                _isClosed = true; // The reader finds out too.
            }

            _output.ResetWrittenCount();
        }
    }

    /// <summary>Its next piece is due; called on the wheel's thread.</summary>
    internal void OnDue(Http2Stream stream)
    {
        lock (_gate)
        {
            Continue(stream);
            if (_isTouched || _output.WrittenCount == 0)
                return;
            _isTouched = true;
        }

        server.Touch(this);
    }

    private async Task<int> ReadPrefaceAsync(byte[] buffer)
    {
        const int prefaceBytes = 24;
        var filled = 0;
        while (filled < prefaceBytes)
        {
            var read = await wire.ReadAsync(buffer.AsMemory(filled));
            if (read == 0)
                throw new EndOfStreamException();
            filled += read;
        }

        if (!buffer.AsSpan().StartsWith("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8))
            throw new InvalidDataException("no HTTP/2");
        buffer.AsSpan(prefaceBytes, filled - prefaceBytes).CopyTo(buffer);
        return filled - prefaceBytes;
    }

    /// <returns>Bytes of whole frames.</returns>
    private int Take(ReadOnlySpan<byte> bytes)
    {
        var used = 0;
        lock (_gate)
        {
            while (bytes.Length - used >= FrameHeadBytes)
            {
                var head = bytes[used..];
                var length = head[0] << 16 | head[1] << 8 | head[2];
                if (length > MaxFrameBytes)
                    throw new InvalidDataException("a frame of more than 16,384 bytes");
                if (head.Length < FrameHeadBytes + length)
                    break;
                OnFrame(head[3], head[4], BinaryPrimitives.ReadInt32BigEndian(head[5..]) & int.MaxValue,
                    head.Slice(FrameHeadBytes, length));
                used += FrameHeadBytes + length;
            }
        }

        return used;
    }

    private void OnFrame(byte type, byte flags, int stream, ReadOnlySpan<byte> payload)
    {
        switch (type)
        {
            case Headers when (flags & EndStream) != 0:
                Frame(Headers, EndHeaders, stream, s_textHead);
                Frame(Data, EndStream, stream, System.Text.Encoding.ASCII.GetBytes(answers.Report() + "\n"));
                break;
            case Headers:
                _streams[stream] = new Http2Stream(this, stream, answers.Wheel.Now, _initialWindow);
                break;
            case Data:
                OnBody(stream, payload.Length, isEnd: (flags & EndStream) != 0);
                break;
            case Reset:
                _streams.Remove(stream);
                break;
            case Settings when (flags & Ack) == 0:
                OnSettings(payload);
                break;
            case Ping when (flags & Ack) == 0:
                Frame(Ping, Ack, 0, payload);
                break;
            case WindowUpdate:
                OnWindow(stream, BinaryPrimitives.ReadInt32BigEndian(payload) & int.MaxValue);
                break;
        }
    }

    private void OnBody(int id, int bytes, bool isEnd)
    {
        if (bytes > 0)
        {
            Span<byte> window = stackalloc byte[4];
            BinaryPrimitives.WriteInt32BigEndian(window, bytes);
            Frame(WindowUpdate, 0, 0, window);
            if (!isEnd)
                Frame(WindowUpdate, 0, id, window);
        }

        if (!isEnd || !_streams.TryGetValue(id, out var stream))
            return;
        answers.OnRequest();
        Frame(Headers, EndHeaders, id, s_eventStreamHead);
        Wait(stream, answers.FirstDelayMs);
    }

    private void OnSettings(ReadOnlySpan<byte> settings)
    {
        for (; settings.Length >= 6; settings = settings[6..])
        {
            if (BinaryPrimitives.ReadUInt16BigEndian(settings) != 4) // SETTINGS_INITIAL_WINDOW_SIZE
                continue;
            var size = BinaryPrimitives.ReadInt32BigEndian(settings[2..]);
            foreach (var stream in _streams.Values)
                stream.Window += size - _initialWindow;
            _initialWindow = size;
        }

        Frame(Settings, Ack, 0, []);
        Unblock();
    }

    private void OnWindow(int id, int bytes)
    {
        if (id == 0)
            _window += bytes;
        else if (_streams.TryGetValue(id, out var stream))
            stream.Window += bytes;
        Unblock();
    }

    private void Unblock()
    {
        if (_blocked.Count == 0)
            return;
        Http2Stream[] blocked = [.. _blocked];
        _blocked.Clear();
        foreach (var stream in blocked)
            Continue(stream);
    }

    private void Wait(Http2Stream stream, int milliseconds)
    {
        stream.DueAt += milliseconds;
        if (milliseconds == 0 || !answers.Wheel.TryAdd(stream, stream.DueAt))
            Continue(stream);
    }

    /// <summary>The next piece, as much of it as the windows allow.</summary>
    private void Continue(Http2Stream stream)
    {
        if (!_streams.ContainsKey(stream.Id) || _isClosed)
            return;
        var pieces = answers.Script.Pieces;
        var piece = pieces[stream.Piece].Span[stream.Sent..];
        while (true)
        {
            var bytes = (int)Math.Min(Math.Min(piece.Length, MaxFrameBytes), Math.Min(stream.Window, _window));
            if (bytes <= 0)
            {
                _blocked.Add(stream);
                return;
            }

            stream.Window -= bytes;
            _window -= bytes;
            stream.Sent += bytes;
            var isLast = bytes == piece.Length && stream.Piece == pieces.Count - 1;
            Frame(Data, isLast ? EndStream : (byte)0, stream.Id, piece[..bytes]);
            piece = piece[bytes..];
            if (isLast)
            {
                _streams.Remove(stream.Id);
                return;
            }

            if (piece.IsEmpty)
                break;
        }

        stream.Piece++;
        stream.Sent = 0;
        Wait(stream, answers.DelayMs);
    }

    private void Frame(byte type, byte flags, int stream, ReadOnlySpan<byte> payload)
    {
        var frame = _output.GetSpan(FrameHeadBytes + payload.Length);
        BinaryPrimitives.WriteInt32BigEndian(frame, payload.Length << 8 | type);
        frame[4] = flags;
        BinaryPrimitives.WriteInt32BigEndian(frame[5..], stream);
        payload.CopyTo(frame[FrameHeadBytes..]);
        _output.Advance(FrameHeadBytes + payload.Length);
    }
}

/// <summary>One answer under way.</summary>
internal sealed class Http2Stream(Http2Connection connection, int id, long now, int window) : IPaced
{
    public int Id => id;

    /// <inheritdoc/>
    public long DueAt { get; set; } = now;

    /// <summary>The client's remaining window, bytes.</summary>
    public long Window { get; set; } = window;

    /// <summary>The next piece of the script.</summary>
    public int Piece { get; set; }

    /// <summary>Bytes of it already sent.</summary>
    public int Sent { get; set; }

    /// <inheritdoc/>
    public void OnDue() => connection.OnDue(this);
}
