namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Counts the bytes of the line and of the event that pass by, without parsing either. A mutable struct: one
/// owner, never copied.
/// </summary>
/// <remarks>
/// An event counts too, else many short <c>data:</c> lines without a blank one would grow the parser's
/// buffer for ever. A comment counts as a line but not to its event: a heartbeat every few seconds adds up
/// to nothing.
/// </remarks>
internal struct EventLimit(int maxBytes)
{
    private long _eventBytes;
    private int _lineBytes;
    private bool _isComment;
    private bool _lastWasCarriageReturn;

    /// <summary>True from the first byte that is too many.</summary>
    public bool IsExceeded { get; private set; }

    /// <summary>How many of these bytes may go on: all of them, or those before the line that is too
    /// long.</summary>
    public int Accept(ReadOnlySpan<byte> bytes)
    {
        var accepted = 0;
        while (accepted < bytes.Length)
        {
            var rest = bytes[accepted..];
            if (_lastWasCarriageReturn && rest[0] == (byte)'\n')
            {
                // The second half of CR LF, not a blank line.
                _lastWasCarriageReturn = false;
                accepted++;
                continue;
            }

            var end = rest.IndexOfAny((byte)'\r', (byte)'\n');
            var length = end < 0 ? rest.Length : end;
            if (_lineBytes == 0 && length > 0) _isComment = rest[0] == (byte)':';
            if (_lineBytes + (long)length > maxBytes || (!_isComment && _eventBytes + length > maxBytes))
            {
                IsExceeded = true;
                return accepted;
            }

            _lineBytes += length;
            if (!_isComment) _eventBytes += length;
            if (end < 0)
            {
                _lastWasCarriageReturn = false;
                return bytes.Length;
            }

            if (_lineBytes == 0) _eventBytes = 0;
            _lineBytes = 0;
            _isComment = false;
            _lastWasCarriageReturn = rest[end] == (byte)'\r';
            accepted += end + 1;
        }

        return accepted;
    }
}
