namespace StreamingDaemon.Bench.Streams;

/// <summary>Compares one stream with the expected one, as its bytes come in.</summary>
internal struct StreamChecker
{
    /// <summary>Where the status code stands in a status line of HTTP/1.1.</summary>
    private const int StatusOffset = 9;

    private int _position;

    /// <summary>Marks of <see cref="ExpectedStream.Marks"/> that the stream has reached: the head, each
    /// event, [DONE].</summary>
    public int MarksReached { get; private set; }

    /// <summary>Checks the bytes of one read.</summary>
    /// <returns><see cref="StreamVerdict.Open"/>, or what is wrong.</returns>
    public StreamVerdict Accept(ReadOnlySpan<byte> bytes, ExpectedStream expected)
    {
        Compare(ref bytes, expected);
        while (!bytes.IsEmpty && _position >= expected.IdStart && _position < expected.IdEnd)
        {
            var skipped = Math.Min(bytes.Length, expected.IdEnd - _position);
            _position += skipped;
            bytes = bytes[skipped..];
            Compare(ref bytes, expected);
        }

        var marks = expected.Marks;
        while (MarksReached < marks.Length && marks[MarksReached] <= _position)
            MarksReached++;
        if (bytes.IsEmpty)
            return StreamVerdict.Open;
        if (_position == expected.Bytes.Length)
            return StreamVerdict.ExtraBytes;
        return _position == StatusOffset && char.IsAsciiDigit((char)bytes[0])
            ? StreamVerdict.Refused : StreamVerdict.WrongBytes;
    }

    /// <summary>The stream has ended.</summary>
    public readonly StreamVerdict End(ExpectedStream expected) =>
        _position == expected.Bytes.Length ? StreamVerdict.Good : StreamVerdict.Truncated;

    /// <summary>Passes over the bytes that are as expected.</summary>
    private void Compare(ref ReadOnlySpan<byte> bytes, ExpectedStream expected)
    {
        var common = expected.Bytes.AsSpan(_position).CommonPrefixLength(bytes);
        _position += common;
        bytes = bytes[common..];
    }
}
