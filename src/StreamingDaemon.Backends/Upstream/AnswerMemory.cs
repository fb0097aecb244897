using System.Numerics;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Counts what one answer holds in memory beside its stream: lines that have not ended, its largest text, and
/// what waits in an HTTP/2 connection while the client is behind. Thousands of such answers would take many
/// times the memory that admission has counted. Used by one thread at a time. A mutable struct: use it as a
/// field, never a copy.
/// </summary>
/// <param name="request">Knows the memory budget; null if nothing is counted.</param>
internal struct AnswerMemory(StreamRequest? request)
{
    /// <summary>Buffers up to this size are part of what a stream costs.</summary>
    private const int CountedFrom = 16 * 1024;

    private int _lines;
    private int _text;
    private int _behind;

    /// <summary>A buffer for lines, or for a whole body, becomes this large.</summary>
    /// <param name="bytes">Bytes of all such buffers.</param>
    /// <exception cref="InsufficientMemoryException">Streams hold too much: this answer must end.</exception>
    public void SetLines(int bytes)
    {
        bytes = bytes > CountedFrom ? bytes : 0;
        if (bytes == _lines)
            return;
        var grows = bytes > _lines;
        _lines = bytes;
        if (!Report() && grows)
            throw new InsufficientMemoryException();
    }

    /// <summary>A text of this length was read. Its buffer stays until the answer's end.</summary>
    public void AddText(int bytes)
    {
        if (bytes <= CountedFrom || bytes <= _text)
            return;
        _text = (int)BitOperations.RoundUpToPowerOf2((uint)bytes);
        Report();
    }

    /// <summary>The answer waits for its client, and so do these bytes of it; 0 if it goes on.</summary>
    public void SetBehind(int bytes)
    {
        if (bytes == _behind)
            return;
        _behind = bytes;
        Report();
    }

    private readonly bool Report() => request?.HoldAnswer((long)_lines + _text + _behind) ?? true;
}
