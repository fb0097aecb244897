using System.Buffers;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Buffer for a request's JSON. A long one is kept in pieces: doubling one array until it holds a long
/// conversation leaves as much again in the large object heap, which is collected last.
/// </summary>
internal sealed class SegmentWriter : IBufferWriter<byte>
{
    /// <summary>Below the size of a large object, 85,000 bytes.</summary>
    private const int SegmentBytes = 64 * 1024;

    private readonly byte[] _first;
    private byte[] _current;
    private int _length;
    private List<ReadOnlyMemory<byte>>? _full;

    /// <param name="firstBytes">Size of the first piece, which is reused for the next request.</param>
    public SegmentWriter(int firstBytes) => _current = _first = new byte[firstBytes];

    public void Advance(int count) => _length += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        if (_current.Length - _length < Math.Max(sizeHint, 1))
        {
            Seal();
            _current = new byte[Math.Max(SegmentBytes, sizeHint)];
        }

        return _current.AsMemory(_length);
    }

    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    /// <summary>What was written, in pieces that the caller owns from here on; the next request may be
    /// written.</summary>
    public ReadOnlyMemory<byte>[] Take()
    {
        Seal();
        ReadOnlyMemory<byte>[] pieces = [.. _full!];
        Reset();
        return pieces;
    }

    /// <summary>Discards what was written.</summary>
    public void Reset()
    {
        _full = null;
        _current = _first;
        _length = 0;
    }

    private void Seal()
    {
        _full ??= [];
        if (_length == 0)
            return;
        // The first is reused, and the last may be mostly empty.
        var isExact = _current != _first && _current.Length - _length < SegmentBytes / 4;
        _full.Add(isExact ? _current.AsMemory(0, _length) : _current.AsSpan(0, _length).ToArray());
        _length = 0;
    }
}
