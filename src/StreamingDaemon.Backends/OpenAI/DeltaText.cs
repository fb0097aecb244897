using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// The text of one event, unescaped from its JSON strings into a pooled buffer. Some servers cut an answer
/// between the two UTF-16 halves of an emoji, or between the bytes of a character: the first part is held
/// until the next text brings the rest. A mutable struct: use it as a field, never a copy.
/// </summary>
internal struct DeltaText
{
    private byte[]? _buffer;
    private int _length;

    /// <summary>A high surrogate whose other half has not come.</summary>
    private char _half;

    /// <summary>The first bytes of a character, in order; at most three.</summary>
    private uint _bytes;
    private int _byteCount;

    /// <summary>What the last event brought, without what is held.</summary>
    public readonly int Length => _length;

    /// <summary>Valid until the next change.</summary>
    public readonly ReadOnlyMemory<byte> Memory => _buffer.AsMemory(0, _length);

    private readonly bool HoldsAny => _half != 0 || _byteCount > 0;

    /// <summary>Begins a new event: keeps only what is held.</summary>
    public void Clear() => _length = 0;

    /// <summary>Adds the reader's current string, or its number as it is written.</summary>
    public void Append(ref Utf8JsonReader reader)
    {
        // Unescaping only shortens, so this is enough if the string is in order.
        EnsureFree(reader.ValueSpan.Length);
        if (!HoldsAny && reader.TokenType == JsonTokenType.String)
        {
            try
            {
                _length += reader.CopyString(_buffer.AsSpan(_length));
                return;
            }
            catch (InvalidOperationException)
            {
                // A lone surrogate, or bytes that are not UTF-8. Rare, so an exception is cheap enough.
            }
        }

        Decode(reader.ValueSpan);
    }

    /// <summary>Adds bytes unchanged.</summary>
    public void AppendRaw(ReadOnlySpan<byte> bytes)
    {
        EnsureFree(bytes.Length);
        bytes.CopyTo(_buffer.AsSpan(_length));
        _length += bytes.Length;
    }

    /// <summary>Removes each such byte from a place on.</summary>
    public void Remove(byte value, int start)
    {
        if (!_buffer.AsSpan(start, _length - start).Contains(value))
            return;
        var kept = start;
        foreach (var next in _buffer.AsSpan(start, _length - start))
        {
            if (next != value)
                _buffer![kept++] = next;
        }

        _length = kept;
    }

    /// <summary>Drops what comes after a place.</summary>
    public void Truncate(int length) => _length = length;

    /// <summary>No rest comes any more: what is held becomes U+FFFD.</summary>
    public void Flush()
    {
        EnsureFree(6);
        FlushHalf();
        FlushBytes();
    }

    /// <summary>The state to go back to, without the buffer: a larger one may have replaced it by then.
    /// </summary>
    public readonly Mark Save() => new(_length, _half, _bytes, _byteCount);

    /// <summary>Back to an earlier state of the same event.</summary>
    public void Restore(in Mark mark) => (_length, _half, _bytes, _byteCount) = mark;

    public void Dispose()
    {
        if (_buffer is not null)
            AnswerBuffer.Return(_buffer);
        _buffer = null;
        _length = 0;
    }

    private void Decode(ReadOnlySpan<byte> escaped)
    {
        // Each bad byte may become the three bytes of U+FFFD, and so may what is held.
        EnsureFree((3 * escaped.Length) + 6);
        while (!escaped.IsEmpty)
        {
            if (escaped[0] != (byte)'\\')
            {
                AddByte(escaped[0]);
                escaped = escaped[1..];
            }
            else if (escaped[1] == (byte)'u')
            {
                AddUnit((char)ushort.Parse(
                    escaped.Slice(2, 4), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
                escaped = escaped[6..];
            }
            else
            {
                AddUnit(escaped[1] switch
                {
                    (byte)'b' => '\b',
                    (byte)'f' => '\f',
                    (byte)'n' => '\n',
                    (byte)'r' => '\r',
                    (byte)'t' => '\t',
                    var other => (char)other,
                });
                escaped = escaped[2..];
            }
        }
    }

    /// <summary>Adds a UTF-16 unit.</summary>
    private void AddUnit(char unit)
    {
        if (_byteCount > 0)
        {
            FlushHalf();
            FlushBytes();
        }

        if (_half != 0 && char.IsLowSurrogate(unit))
        {
            Add(new Rune(_half, unit));
            _half = default;
            return;
        }

        FlushHalf();
        if (char.IsHighSurrogate(unit))
            _half = unit;
        else
            Add(Rune.TryCreate(unit, out var rune) ? rune : Rune.ReplacementChar);
    }

    /// <summary>Adds a byte of UTF-8. Some runtimes write each half of a pair as a character of its own
    /// (CESU-8).</summary>
    private void AddByte(byte next)
    {
        Span<byte> bytes = stackalloc byte[4];
        for (var i = 0; i < _byteCount; i++)
            bytes[i] = (byte)(_bytes >> (8 * i));
        bytes[_byteCount] = next;
        bytes = bytes[..(_byteCount + 1)];
        _bytes = 0;
        _byteCount = 0;
        while (!bytes.IsEmpty)
        {
            var isHalf = bytes is [0xed, >= 0xa0 and <= 0xbf]
                or [0xed, >= 0xa0 and <= 0xbf, >= 0x80 and <= 0xbf];
            if (isHalf && bytes.Length == 3)
            {
                AddUnit((char)(0xd000 | ((bytes[1] & 0x3f) << 6) | (bytes[2] & 0x3f)));
                return;
            }

            var status = Rune.DecodeFromUtf8(bytes, out var rune, out var consumed);
            if (isHalf || status == OperationStatus.NeedMoreData)
            {
                for (var i = 0; i < bytes.Length; i++)
                    _bytes |= (uint)bytes[i] << (8 * i);
                _byteCount = bytes.Length;
                return;
            }

            FlushHalf();
            Add(rune);
            bytes = bytes[consumed..];
        }
    }

    private void FlushHalf()
    {
        if (_half == 0)
            return;
        _half = default;
        Add(Rune.ReplacementChar);
    }

    private void FlushBytes()
    {
        if (_byteCount == 0)
            return;
        _bytes = 0;
        _byteCount = 0;
        Add(Rune.ReplacementChar);
    }

    private void Add(Rune rune) => _length += rune.EncodeToUtf8(_buffer.AsSpan(_length));

    private void EnsureFree(int count)
    {
        const int UsualBytes = 256;
        var buffer = _buffer;
        if (buffer is not null && buffer.Length - _length >= count)
            return;
        var larger = AnswerBuffer.Rent(
            Math.Max(Math.Max(UsualBytes, (buffer?.Length ?? 0) * 2), _length + count));
        if (buffer is not null)
        {
            buffer.AsSpan(0, _length).CopyTo(larger);
            AnswerBuffer.Return(buffer);
        }

        _buffer = larger;
    }

    /// <summary>A state of the text.</summary>
    public readonly record struct Mark(int Length, char Half, uint Bytes, int ByteCount);
}
