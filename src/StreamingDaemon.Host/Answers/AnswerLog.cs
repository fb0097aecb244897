using System.Buffers;

namespace StreamingDaemon.Host.Answers;

/// <summary>
/// The events of one answer, as bytes: each begins with its <c>id</c> line and ends with an empty line. The
/// producer appends; readers copy from their own position. Not thread-safe: <see cref="KeptAnswer"/> guards
/// it.
/// </summary>
internal sealed class AnswerLog : IBufferWriter<byte>
{
    private const int LeastCapacity = 1024;

    /// <summary>An event's position is found from the mark before it: one mark per event would double the
    /// memory of a short token.</summary>
    private const int EventsPerMark = 16;

    /// <summary>Positions at which events 1, 17, 33 … begin. Null once events were dropped.</summary>
    private List<int>? _marks = [];

    private byte[] _bytes = [];
    private int _length;
    private long _dropped;
    private bool _isPooled;

    /// <summary>Events so far; also the id of the last one.</summary>
    public int Events { get; private set; }

    /// <summary>Position behind the last event: bytes appended so far.</summary>
    public long End => _dropped + _length;

    /// <summary>Bytes of memory that the events take.</summary>
    public int Capacity => _bytes.Length;

    /// <summary>Bytes that are held and not dropped.</summary>
    public int Held => _length;

    /// <summary>Begins the next event: writes its <c>id</c> line. What is written until the next call is the
    /// event.</summary>
    public void BeginEvent()
    {
        if (Events++ % EventsPerMark == 0)
            _marks?.Add((int)End);
        this.Write("id: "u8);
        Events.TryFormat(GetSpan(11), out var digits);
        Advance(digits);
        this.Write("\n"u8);
    }

    /// <summary>Appends whole events, with their ids.</summary>
    public void Append(ReadOnlySpan<byte> events, int count)
    {
        for (var i = 0; i < count; i++)
        {
            if (Events++ % EventsPerMark == 0)
                _marks?.Add((int)End);
            var end = EndOfEvent(events);
            this.Write(events[..end]);
            events = events[end..];
        }
    }

    public void Advance(int count) => _length += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        MakeRoom(sizeHint);
        return _bytes.AsMemory(_length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        MakeRoom(sizeHint);
        return _bytes.AsSpan(_length);
    }

    /// <summary>The position behind an event.</summary>
    /// <param name="id">The event; 0 for the beginning. Above the last one, it is the last one.</param>
    /// <exception cref="InvalidOperationException">Events were dropped.</exception>
    public long PositionAfter(int id)
    {
        if (_marks is null)
            throw new InvalidOperationException("the events are no longer all there");
        if (id >= Events)
            return End;
        if (id <= 0)
            return 0;
        var position = _marks[id / EventsPerMark];
        for (var left = id % EventsPerMark; left > 0; left--)
            position += EndOfEvent(_bytes.AsSpan(position, _length - position));
        return position;
    }

    /// <summary>Whole events from a position on: as many as fit, but one at least.</summary>
    /// <param name="position">Where the reader stands; not below what was dropped.</param>
    /// <param name="most">Bytes that the result should not pass.</param>
    /// <returns>Empty if there are none. Valid until the next change of the log.</returns>
    public ReadOnlySpan<byte> Read(long position, int most)
    {
        var rest = _bytes.AsSpan((int)(position - _dropped), (int)(End - position));
        if (rest.Length <= most)
            return rest;
        var whole = rest[..most].LastIndexOf("\n\n"u8);
        return whole >= 0 ? rest[..(whole + 2)] : rest[..EndOfEvent(rest)];
    }

    /// <summary>Forgets the events before a position. Readers must stand at it or behind it.</summary>
    public void DropBefore(long position)
    {
        var bytes = (int)(position - _dropped);
        if (bytes <= 0)
            return;
        _marks = null;
        _bytes.AsSpan(bytes, _length - bytes).CopyTo(_bytes);
        _length -= bytes;
        _dropped = position;
    }

    /// <summary>Nothing more is appended: gives back what is not used.</summary>
    public void Seal()
    {
        var exact = _bytes.AsSpan(0, _length).ToArray();
        ReturnToPool();
        _bytes = exact;
        _isPooled = false;
        _marks?.TrimExcess();
    }

    private static int EndOfEvent(ReadOnlySpan<byte> events) => events.IndexOf("\n\n"u8) + 2;

    private void MakeRoom(int bytes)
    {
        var needed = _length + Math.Max(bytes, 1);
        if (needed <= _bytes.Length)
            return;
        var larger = ArrayPool<byte>.Shared.Rent(Math.Max(needed, Math.Max(LeastCapacity, 2 * _length)));
        _bytes.AsSpan(0, _length).CopyTo(larger);
        ReturnToPool();
        _bytes = larger;
        _isPooled = true;
    }

    private void ReturnToPool()
    {
        if (_isPooled)
            ArrayPool<byte>.Shared.Return(_bytes);
    }
}
