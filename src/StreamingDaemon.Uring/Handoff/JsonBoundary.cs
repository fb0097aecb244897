namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// Finds where a handoff ends on a SOCK_STREAM connection, which keeps no message boundaries: after the
/// closing bracket of the JSON object or array, or after the single NUL that stands for no data. It frames,
/// it does not decode: what is no JSON ends where the peer closes. Each byte is looked at once, however it is
/// cut.
/// </summary>
internal struct JsonBoundary
{
    private int _depth;
    private bool _started;
    private bool _inString;
    private bool _escaped;

    /// <summary>True once the value is whole; later bytes are not looked at.</summary>
    public bool IsComplete { get; private set; }

    public void Feed(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
        {
            if (IsComplete)
                return;
            if (_inString)
                FeedString(b);
            else
                FeedStructure(b);
        }
    }

    private void FeedString(byte b)
    {
        if (_escaped)
            _escaped = false;
        else if (b == (byte)'\\')
            _escaped = true;
        else if (b == (byte)'"')
            _inString = false;
    }

    private void FeedStructure(byte b)
    {
        switch (b)
        {
            case (byte)'{' or (byte)'[':
                _depth++;
                break;
            case (byte)'}' or (byte)']':
                IsComplete = --_depth <= 0 && _started;
                break;
            case (byte)'"':
                _inString = _depth > 0;
                break;
            case 0:
                IsComplete = !_started;
                break;
        }

        _started |= b is not ((byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n');
    }
}
