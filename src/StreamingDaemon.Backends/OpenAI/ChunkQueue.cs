using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// The chunks of the last event, for a client that gets the chunks themselves. Those that come before
/// anything to show (the role, a filter's results) wait for it: until then an error can still be a status.
/// Used by one stream at a time.
/// </summary>
internal sealed class ChunkQueue : IDisposable
{
    /// <summary>Most that waits, bytes: above it the chunks leave.</summary>
    private const int MaxWaitingBytes = 64 * 1024;

    private readonly List<int> _ends = [];
    private DeltaText _data;
    private int _taken;

    /// <summary>Which choices have ended.</summary>
    public ChoiceEnds Choices { get; } = new();

    /// <summary>How much was added: a place to go back to.</summary>
    public (int Bytes, int Chunks) Mark => (_data.Length, _ends.Count);

    /// <summary>Drops what was taken.</summary>
    public void BeginEvent()
    {
        if (_taken == 0)
            return;
        _data.Clear();
        _ends.Clear();
        _taken = 0;
    }

    /// <summary>Adds an object as a chunk.</summary>
    /// <param name="json">The object, as it came.</param>
    /// <param name="isChunk">False if it lacks what clients of the API rely on
    /// (<see cref="ChunkEditor"/>).</param>
    /// <param name="repeats">A message or text in it repeats what deltas have brought.</param>
    public void Add(ReadOnlySpan<byte> json, bool isChunk, bool repeats)
    {
        var start = _data.Length;
        if (isChunk)
            _data.AppendRaw(json);
        else
            new ChunkEditor(json, repeats, ref _data).Edit();
        // A line break between two members of a JSON body. Inside a string it is an escape.
        _data.Remove((byte)'\r', start);
        _ends.Add(_data.Length);
    }

    /// <summary>Back to an earlier state of the same event.</summary>
    public void Restore((int Bytes, int Chunks) mark)
    {
        _data.Truncate(mark.Bytes);
        _ends.RemoveRange(mark.Chunks, _ends.Count - mark.Chunks);
    }

    /// <summary>The next chunk.</summary>
    /// <param name="hasAnswer"><see cref="IEventReader.HasAnswer"/></param>
    /// <param name="delta">Valid until the next event.</param>
    public bool TryTake(bool hasAnswer, out StreamDelta delta)
    {
        delta = default;
        if (_taken == _ends.Count || (_taken == 0 && !hasAnswer && _data.Length <= MaxWaitingBytes))
            return false;
        var start = _taken == 0 ? 0 : _ends[_taken - 1];
        delta = new StreamDelta(_data.Memory[start.._ends[_taken++]], DeltaKinds.Chunk);
        return true;
    }

    public void Dispose() => _data.Dispose();
}
