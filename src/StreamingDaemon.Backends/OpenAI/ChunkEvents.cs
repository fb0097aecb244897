using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>A <see cref="ChunkReader"/> in the form that the response pump takes.</summary>
internal readonly struct ChunkEvents(ChunkReader chunks) : IEventReader
{
    public static string ExpectedEnd => "[DONE] or a finish reason";

    public bool IsFinished => chunks.SawFinishReason;

    public bool MayGoOnAfterFinish => chunks.MayGoOnAfterFinish;

    public string? FinishReason => chunks.FinishReason;

    public string? Error => chunks.Error;

    public bool LacksModel => chunks.LacksModel;

    public bool HasAnswer => chunks.HasAnswer;

    public int Parts => chunks.Parts;

    public string? OnlyHeld => chunks.OnlyHeld;

    public EventKind Read(string eventType, ReadOnlySpan<byte> data) => chunks.Read(eventType, data);

    public bool IsError(ReadOnlySpan<byte> data) => ErrorWrapper.IsError(data);

    public void End(bool isWhole) => chunks.End(isWhole);

    public bool TryTake(out StreamDelta delta) => chunks.TryTake(out delta);

    public void Dispose() => chunks.Dispose();
}
