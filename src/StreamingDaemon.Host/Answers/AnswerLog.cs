using System.Buffers;
using System.Numerics;

namespace StreamingDaemon.Host.Answers;

/// <summary>
/// The events of one answer, as bytes: each begins with its <c>id</c> line and ends with an empty line. The
/// producer appends; readers copy from their own position. The bytes are in segments, so that an answer
/// neither moves as it grows nor needs twice its size for it; an event is whole in one segment. Not
/// thread-safe: <see cref="KeptAnswer"/> guards it.
/// </summary>
internal sealed class AnswerLog : IBufferWriter<byte>
{
    /// <summary>The first segment. Each further one is twice as large, up to the largest.</summary>
    private const int SmallestSegment = 1024;

    /// <summary>Only an event that is longer has a larger one, of its own.</summary>
    private const int LargestSegment = 16 * 1024;

    /// <summary>An ended answer of up to this size is one array of its own length.</summary>
    private const int LongestWhole = 64 * 1024;

    /// <summary>An event's position is found from the mark before it: one mark per event would double the
    /// memory of a short token.</summary>
    private const int EventsPerMark = 16;

    /// <summary>Segments that are full, in their order.</summary>
    private readonly List<Segment> _full = [];

    /// <summary>Positions at which events 1, 17, 33 … begin. Null once events were dropped.</summary>
    private List<int>? _marks = [];

    /// <summary>The segment that is written.</summary>
    private Segment _last = new([], 0, 0);

    /// <summary>Where in it the last event begins.</summary>
    private int _event;

    private long _dropped;

    /// <summary>Events so far; also the id of the last one.</summary>
    public int Events { get; private set; }

    /// <summary>Position behind the last event: bytes appended so far.</summary>
    public long End => _last.End;

    /// <summary>Bytes of memory that the events take.</summary>
    public int Capacity { get; private set; }

    /// <summary>Bytes that are held and not dropped.</summary>
    public long Held => End - _dropped;

    /// <summary>Begins the next event: writes its <c>id</c> line. What is written until the next call is the
    /// event.</summary>
    public void BeginEvent()
    {
        Mark();
        Put("id: "u8);
        Events.TryFormat(GetSpan(11), out var digits);
        Advance(digits);
        Put("\n"u8);
    }

    /// <summary>Appends whole events, with their ids.</summary>
    public void Append(ReadOnlySpan<byte> events, int count)
    {
        for (var i = 0; i < count; i++)
        {
            Mark();
            var end = EndOfEvent(events);
            Put(events[..end]);
            events = events[end..];
        }
    }

    public void Advance(int count) => _last = _last with { Length = _last.Length + count };

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        MakeRoom(Math.Max(sizeHint, 1));
        return _last.Bytes.AsMemory(_last.Length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        MakeRoom(Math.Max(sizeHint, 1));
        return _last.Bytes.AsSpan(_last.Length);
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
        long position = _marks[id / EventsPerMark];
        for (var left = id % EventsPerMark; left > 0; left--)
            position += EndOfEvent(From(position));
        return position;
    }

    /// <summary>Whole events from a position on: as many as fit, but one at least. There may be more.
    /// </summary>
    /// <param name="position">Where the reader stands; not below what was dropped.</param>
    /// <param name="most">Bytes that the result should not pass.</param>
    /// <returns>Empty if there are none. Valid until the next change of the log.</returns>
    public ReadOnlySpan<byte> Read(long position, int most)
    {
        var rest = From(position);
        if (rest.Length <= most)
            return rest;
        var whole = rest[..most].LastIndexOf("\n\n"u8);
        return whole >= 0 ? rest[..(whole + 2)] : rest[..EndOfEvent(rest)];
    }

    /// <summary>Forgets the events before a position. Readers must stand at it or behind it.</summary>
    public void DropBefore(long position)
    {
        if (position <= _dropped)
            return;
        _marks = null;
        _dropped = position;
        var read = 0;
        while (read < _full.Count && _full[read].End <= position)
            Return(_full[read++]);
        _full.RemoveRange(0, read);
        if (position < End)
            return;
        // All of it: what comes next begins in the same memory, unless that was one long event's.
        _event = 0;
        _last = new(_last.Bytes, position, 0);
        if (_last.Bytes.Length > LargestSegment)
            Replace([]);
    }

    /// <summary>Nothing more is appended: gives back what is not used.</summary>
    public void Seal()
    {
        if (Held <= LongestWhole && _full.Count > 0)
        {
            var start = _full[0].Start;
            var whole = new byte[(int)(End - start)];
            foreach (var segment in _full)
            {
                segment.Written.CopyTo(whole.AsSpan((int)(segment.Start - start)));
                Return(segment);
            }

            _last.Written.CopyTo(whole.AsSpan((int)(_last.Start - start)));
            _full.Clear();
            _full.Capacity = 0;
            Replace(whole);
            _last = new(whole, start, whole.Length);
        }
        else
        {
            Replace(_last.Written.ToArray());
        }

        _marks?.TrimExcess();
    }

    private static int EndOfEvent(ReadOnlySpan<byte> events) => events.IndexOf("\n\n"u8) + 2;

    private void Mark()
    {
        if (Events++ % EventsPerMark == 0)
            _marks?.Add((int)End);
        _event = _last.Length;
    }

    private void Put(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(GetSpan(bytes.Length));
        Advance(bytes.Length);
    }

    /// <summary>What its segment holds from a position on.</summary>
    private ReadOnlySpan<byte> From(long position)
    {
        var segment = _last;
        if (position < segment.Start)
        {
            var (low, high) = (0, _full.Count - 1);
            while (low < high)
            {
                var middle = (low + high + 1) / 2;
                (low, high) = _full[middle].Start <= position ? (middle, high) : (low, middle - 1);
            }

            segment = _full[low];
        }

        return segment.Written[(int)(position - segment.Start)..];
    }

    private void MakeRoom(int bytes)
    {
        var length = _last.Length;
        if (length + bytes <= _last.Bytes.Length)
            return;
        // The event that does not fit moves to the next segment.
        var begun = _last.Written[_event..];
        var next = Math.Clamp(2 * _last.Bytes.Length, SmallestSegment, LargestSegment);
        var larger = Rent(Math.Max(next, begun.Length + Math.Max(bytes, begun.Length)));
        begun.CopyTo(larger);
        var start = _last.Start + _event;
        if (_event > 0)
            _full.Add(Trimmed(_last with { Length = _event }));
        else
            Return(_last);
        _last = new(larger, start, length - _event);
        _event = 0;
    }

    /// <summary>Long events leave much of a segment unused.</summary>
    private Segment Trimmed(in Segment segment)
    {
        if (segment.Bytes.Length - segment.Length <= segment.Bytes.Length / 4)
            return segment;
        var exact = segment.Written.ToArray();
        Return(segment);
        Capacity += exact.Length;
        return segment with { Bytes = exact };
    }

    private void Replace(byte[] bytes)
    {
        Return(_last);
        Capacity += bytes.Length;
        _last = _last with { Bytes = bytes };
    }

    private byte[] Rent(int bytes)
    {
        var rented = bytes <= LargestSegment
            ? ArrayPool<byte>.Shared.Rent(bytes)
            : GC.AllocateUninitializedArray<byte>(bytes);
        Capacity += rented.Length;
        return rented;
    }

    /// <summary>Larger arrays are not pooled: what the pool keeps is not counted anywhere.</summary>
    private void Return(in Segment segment)
    {
        var length = segment.Bytes.Length;
        Capacity -= length;
        // A sealed one has any length; what was rented, a power of two.
        if (length is > 0 and <= LargestSegment && BitOperations.IsPow2(length))
            ArrayPool<byte>.Shared.Return(segment.Bytes);
    }

    /// <param name="Bytes">The memory.</param>
    /// <param name="Start">Position of its first byte.</param>
    /// <param name="Length">Bytes of it that are events.</param>
    private readonly record struct Segment(byte[] Bytes, long Start, int Length)
    {
        public long End => Start + Length;

        public ReadOnlySpan<byte> Written => Bytes.AsSpan(0, Length);
    }
}
