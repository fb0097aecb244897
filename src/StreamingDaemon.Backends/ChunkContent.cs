using System.Text.Json;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends;

/// <summary>Reads what the chunks of one answer say (<see cref="DeltaKinds.Chunk"/>), for whoever needs more
/// than the chunks themselves. Used by one stream at a time.</summary>
public sealed class ChunkContent : IDisposable
{
    private readonly ChunkReader _reader = new(secret: "",
        DeltaKinds.Text | DeltaKinds.Reasoning | DeltaKinds.FinishReason | DeltaKinds.Usage);

    private readonly ToolCallReader _calls = new();

    /// <summary>Characters of all calls of tools so far.</summary>
    public long ToolCallLength => _calls.Length;

    /// <summary>True if the answer calls a tool.</summary>
    public bool HasToolCalls => _calls.HasAny;

    /// <summary>Reads one chunk. <see cref="TryTake"/> has what it says.</summary>
    public void Read(ReadOnlySpan<byte> chunk)
    {
        _reader.Read(IEventReader.MessageEvent, chunk);
        _calls.Read(chunk);
    }

    /// <summary>No chunk follows. <see cref="TryTake"/> has the finish reason and the usage, if there were
    /// any.</summary>
    public void End() => _reader.End(isWhole: true);

    /// <summary>The next delta of the last chunk or of the end; valid until the next call.</summary>
    /// <returns>False if there is no more.</returns>
    public bool TryTake(out StreamDelta delta) => _reader.TryTake(out delta);

    /// <summary>Writes the calls of tools as a message of the assistant has them: an array.</summary>
    public void WriteToolCalls(Utf8JsonWriter json)
    {
        ArgumentNullException.ThrowIfNull(json);
        _calls.WriteTo(json);
    }

    /// <inheritdoc/>
    public void Dispose() => _reader.Dispose();
}
