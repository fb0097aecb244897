namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Finds the events in a stream of bytes that comes in pieces (WHATWG HTML, section 9.2.6). Beyond the
/// standard: an event that the end of the body cuts counts; a field <c>error</c>, another unknown field
/// with an error object, and a bare JSON line are events of their own, because servers send their errors
/// so.
/// </summary>
/// <remarks>
/// The platform's parser asks for bytes and waits for them: a state machine and a task for each token. This
/// reader is given them, so a token costs no object, and an event that comes whole, as nearly all do, no
/// copy. The fields <c>id</c> and <c>retry</c> mean nothing without reconnects.
/// </remarks>
/// <typeparam name="TEvents">Receives the events.</typeparam>
/// <param name="events">Receives the events; not disposed here.</param>
/// <param name="maxEventBytes">Longest line and longest event, bytes: many short <c>data:</c> lines without
/// a blank one would grow the buffer forever. A comment counts as a line but not towards its event, so a
/// heartbeat every few seconds adds up to nothing.</param>
/// <param name="memory">Counts the buffers.</param>
internal sealed class SseReader<TEvents>(TEvents events, int maxEventBytes, AnswerMemory memory = default)
    : IDisposable
    where TEvents : struct, IEventReader
{
    private AnswerMemory _memory = memory;
    private string _type = IEventReader.MessageEvent;
    private byte[] _line = [];
    private int _lineLength;
    private byte[] _data = [];
    private int _dataLength;
    private long _eventBytes;
    private bool _hasData;

    /// <summary>The event is JSON over several lines, without a field's name.</summary>
    private bool _isBare;
    private bool _lastWasCarriageReturn;
    private bool _hasBegun;

    /// <summary>True from the first byte above the limit. Read nothing more then.</summary>
    public bool IsTooLong { get; private set; }

    public int MaxEventBytes => maxEventBytes;

    /// <summary>What the answer holds.</summary>
    public ref AnswerMemory Memory => ref _memory;

    private static ReadOnlySpan<byte> ByteOrderMark => [0xef, 0xbb, 0xbf];

    /// <summary>Reads up to the end of the next event.</summary>
    /// <param name="bytes">The bytes that came.</param>
    /// <param name="offset">Where to continue in the bytes; moved past what was read.</param>
    /// <param name="kind">What the event is.</param>
    /// <returns>False if the bytes end before an event does: call again with the next bytes. Also false if it
    /// <see cref="IsTooLong"/>, which stops the offset.</returns>
    public bool TryRead(ReadOnlySpan<byte> bytes, ref int offset, out EventKind kind)
    {
        while (offset < bytes.Length)
        {
            var rest = bytes[offset..];
            if (_lastWasCarriageReturn)
            {
                _lastWasCarriageReturn = false;
                if (rest[0] == (byte)'\n')
                {
                    offset++;
                    continue;
                }
            }

            var end = rest.IndexOfAny((byte)'\r', (byte)'\n');
            var line = end < 0 ? rest : rest[..end];
            if (!Count(line))
                break;
            if (end < 0)
            {
                Append(ref _line, ref _lineLength, rest);
                offset = bytes.Length;
                break;
            }

            offset += end + 1;
            _lastWasCarriageReturn = rest[end] == (byte)'\r';
            if (TryReadLine(line, bytes, ref offset, out kind))
                return true;
        }

        kind = default;
        return false;
    }

    /// <summary>No more bytes come: reads an event that the end has cut. Call it until it returns
    /// false.</summary>
    public bool TryReadEnd(out EventKind kind)
    {
        kind = default;
        if (IsTooLong)
            return false;
        var line = _lineLength > 0 ? WithoutMark(_line.AsSpan(0, _lineLength)) : default;
        var offset = 0;
        var isEvent = !line.IsEmpty && ReadField(line, [], ref offset, out kind);
        GiveBack(ref _line, ref _lineLength);
        return isEvent || EndEvent(out kind);
    }

    public void Dispose()
    {
        GiveBack(ref _line, ref _lineLength);
        GiveBack(ref _data, ref _dataLength);
    }

    /// <summary>Counts a line, or the next part of one.</summary>
    /// <returns>False if it is too long.</returns>
    private bool Count(ReadOnlySpan<byte> part)
    {
        var isComment = _lineLength > 0 ? _line[0] == (byte)':' : part.StartsWith((byte)':');
        var eventBytes = isComment ? _eventBytes : _eventBytes + part.Length;
        IsTooLong = _lineLength + (long)part.Length > maxEventBytes
            || (!isComment && eventBytes > maxEventBytes);
        if (!IsTooLong)
            _eventBytes = eventBytes;
        return !IsTooLong;
    }

    private bool TryReadLine(ReadOnlySpan<byte> line, ReadOnlySpan<byte> bytes, ref int offset,
        out EventKind kind)
    {
        var isBuffered = _lineLength > 0;
        if (isBuffered)
        {
            Append(ref _line, ref _lineLength, line);
            line = _line.AsSpan(0, _lineLength);
        }

        line = WithoutMark(line);
        bool isEvent;
        if (line.IsEmpty)
            isEvent = EndEvent(out kind);
        else
            isEvent = ReadField(line, bytes, ref offset, out kind);
        if (isBuffered)
            GiveBack(ref _line, ref _lineLength);
        return isEvent;
    }

    /// <summary>The stream may begin with a byte order mark.</summary>
    private ReadOnlySpan<byte> WithoutMark(ReadOnlySpan<byte> line)
    {
        var isFirst = !_hasBegun;
        _hasBegun = true;
        return isFirst && line.StartsWith(ByteOrderMark) ? line[ByteOrderMark.Length..] : line;
    }

    /// <summary>A blank line: the event's end, if there was any data. A name without data dies with
    /// it.</summary>
    private bool EndEvent(out EventKind kind)
    {
        kind = default;
        var hadData = _hasData;
        if (hadData)
        {
            var data = _data.AsSpan(0, _dataLength);
            kind = _isBare ? ReadBare(data) : events.Read(_type, data);
        }

        BeginEvent();
        return hadData;
    }

    /// <summary>JSON without a field's name: the standard says to skip it, so only what is JSON counts.
    /// </summary>
    private EventKind ReadBare(ReadOnlySpan<byte> json)
    {
        var kind = events.Read(_type, json);
        return kind == EventKind.Malformed ? EventKind.Delta : kind;
    }

    private void BeginEvent()
    {
        _type = IEventReader.MessageEvent;
        _hasData = false;
        _isBare = false;
        _eventBytes = 0;
        GiveBack(ref _data, ref _dataLength);
    }

    private bool ReadField(ReadOnlySpan<byte> line, ReadOnlySpan<byte> bytes, ref int offset,
        out EventKind kind)
    {
        kind = default;
        if (SseField.TryGetValue(line, "data"u8, out var value))
        {
            // The usual event is one line and ends right here: it is read in place.
            if (!_hasData && offset < bytes.Length && bytes[offset] == (byte)'\n' && !_lastWasCarriageReturn)
            {
                offset++;
                kind = events.Read(_type, value);
                BeginEvent();
                return true;
            }

            AppendData(value);
            return false;
        }

        if (!SseField.TryGetValue(line, "event"u8, out value))
            return line[0] != (byte)':' && ReadUnknown(line, out kind);
        _type = value.IsEmpty || value.SequenceEqual("message"u8) ? IEventReader.MessageEvent
            : SseField.NamesError(value) ? IEventReader.ErrorEvent
            : SseField.NamesEnd(value) ? IEventReader.EndEvent
            : IEventReader.OtherEvent;
        return false;
    }

    /// <summary>A line that the standard says to skip.</summary>
    /// <returns>True if it is an event of its own.</returns>
    private bool ReadUnknown(ReadOnlySpan<byte> line, out EventKind kind)
    {
        kind = default;
        if (_isBare)
        {
            AppendData(line);
            return false;
        }

        // RFC 7464: each object of a JSON text sequence begins with a record separator.
        if (line[0] == 0x1e && line.Length > 1)
            line = line[1..];
        var value = line;
        if (line[0] is not ((byte)'{' or (byte)'['))
        {
            if (SseField.TryGetError(line, out value))
            {
                kind = value.IsEmpty ? default : events.Read(IEventReader.ErrorEvent, value);
                return !value.IsEmpty;
            }

            value = line[(line.IndexOf((byte)':') + 1)..].Trim((byte)' ');
            if (value.IsEmpty || value[0] is not ((byte)'{' or (byte)'[') || !events.IsError(value))
                return false;
        }

        if (value.TrimEnd(" \t"u8)[^1] is not ((byte)'}' or (byte)']'))
        {
            _isBare = !_hasData;
            if (_isBare)
                AppendData(line);
            return false;
        }

        kind = ReadBare(value);
        // Lines of JSON without blank ones between them are not one event.
        if (!_hasData)
            _eventBytes = 0;
        return true;
    }

    private void AppendData(ReadOnlySpan<byte> value)
    {
        if (_hasData)
            Append(ref _data, ref _dataLength, "\n"u8);
        Append(ref _data, ref _dataLength, value);
        _hasData = true;
    }

    private void Append(ref byte[] buffer, ref int length, ReadOnlySpan<byte> bytes)
    {
        if (buffer.Length - length < bytes.Length)
        {
            var size = Math.Max(length + bytes.Length, buffer.Length * 2);
            // Both are there while one is copied. The smaller ones, as long together, are garbage.
            _memory.SetLines(_line.Length + _data.Length + (2 * size));
            var larger = AnswerBuffer.Rent(size);
            buffer.AsSpan(0, length).CopyTo(larger);
            AnswerBuffer.Return(buffer);
            buffer = larger;
        }

        bytes.CopyTo(buffer.AsSpan(length));
        length += bytes.Length;
    }

    private void GiveBack(ref byte[] buffer, ref int length)
    {
        if (buffer.Length > 0)
        {
            AnswerBuffer.Return(buffer);
            _memory.SetLines(_line.Length + _data.Length - buffer.Length);
        }

        buffer = [];
        length = 0;
    }
}
