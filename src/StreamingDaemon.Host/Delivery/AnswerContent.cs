using System.Buffers;
using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// Collects from the deltas of one answer what is delivered: text, reasoning, finish reason, token counts,
/// calls of tools. What it holds counts in the memory budget. Used by one thread at a time.
/// </summary>
/// <param name="maxBytes">Most bytes that are collected. What comes after them is left out, and
/// <see cref="IsTruncated"/> says so.</param>
/// <param name="memory">The budget, or null if nothing is counted.</param>
internal sealed class AnswerContent(long maxBytes, MemoryBudget? memory = null) : IDisposable
{
    private readonly ArrayBufferWriter<byte> _text = new();
    private readonly ArrayBufferWriter<byte> _reasoning = new();
    private ChunkContent? _chunks;
    private byte[]? _usage;
    private long _collected;
    private long _held;

    /// <summary>The kinds of delta that are asked for if the client is not shown them.</summary>
    public const DeltaKinds Wanted = DeltaKinds.Reasoning | DeltaKinds.FinishReason | DeltaKinds.Usage;

    /// <summary>UTF-8.</summary>
    public ReadOnlySpan<byte> Text => _text.WrittenSpan;

    /// <summary>UTF-8; empty if there was none.</summary>
    public ReadOnlySpan<byte> Reasoning => _reasoning.WrittenSpan;

    /// <summary>The upstream's word; null if it sent none.</summary>
    public string? FinishReason { get; private set; }

    /// <summary>A JSON object; empty if no counts are known.</summary>
    public ReadOnlySpan<byte> Usage => _usage;

    /// <summary>The chunks, if they hold any call of a tool.</summary>
    public ChunkContent? ToolCalls => _chunks is { HasToolCalls: true } ? _chunks : null;

    /// <summary>The answer was longer than what is collected.</summary>
    public bool IsTruncated { get; private set; }

    /// <summary>When the client was first shown something, as <see cref="Environment.TickCount64"/>; null if
    /// it never was.</summary>
    public long? FirstShownMs { get; private set; }

    /// <summary>Adds one delta of the answer, in the order in which they are written.</summary>
    /// <param name="delta">The delta.</param>
    /// <param name="isShown">Whether the client is shown it.</param>
    public void Add(StreamDelta delta, bool isShown = true)
    {
        if (isShown)
            FirstShownMs ??= Environment.TickCount64;
        if (delta.Kind != DeltaKinds.Chunk)
        {
            Take(delta);
            return;
        }

        _chunks ??= new ChunkContent();
        var callsBefore = _chunks.ToolCallLength;
        // After the limit only the end is of interest.
        if (!IsTruncated || delta.Text.Length < 4096)
            _chunks.Read(delta.Text.Span);
        Count(_chunks.ToolCallLength - callsBefore);
        TakeAll(_chunks);
    }

    /// <summary>No delta follows.</summary>
    public void End()
    {
        if (_chunks is null)
            return;
        _chunks.End();
        TakeAll(_chunks);
    }

    public void Dispose()
    {
        _chunks?.Dispose();
        memory?.Return(_held);
        _held = 0;
    }

    private void TakeAll(ChunkContent chunks)
    {
        while (chunks.TryTake(out var delta))
            Take(delta);
    }

    private void Take(StreamDelta delta)
    {
        switch (delta.Kind)
        {
            case DeltaKinds.Text:
                Append(_text, delta.Text.Span);
                break;
            case DeltaKinds.Reasoning:
                Append(_reasoning, delta.Text.Span);
                break;
            case DeltaKinds.FinishReason:
                FinishReason = Encoding.UTF8.GetString(delta.Text.Span);
                break;
            case DeltaKinds.Usage:
                _usage = delta.Text.ToArray();
                break;
        }
    }

    private void Append(ArrayBufferWriter<byte> buffer, ReadOnlySpan<byte> text)
    {
        if (IsTruncated)
            return;
        var room = maxBytes - _collected;
        if (!Count(text.Length))
            text = text[..StartOfCharacter(text, (int)Math.Max(0, room))];
        var capacity = buffer.Capacity;
        buffer.Write(text);
        var grown = buffer.Capacity - capacity;
        if (grown == 0)
            return;
        _held += grown;
        memory?.Hold(grown);
    }

    /// <summary>The index at which the character of a byte begins, so that no character is cut.</summary>
    private static int StartOfCharacter(ReadOnlySpan<byte> text, int at)
    {
        // RFC 3629, section 3: bytes after the first begin with 10.
        while (at > 0 && (text[at] & 0xC0) == 0x80)
            at--;
        return at;
    }

    /// <returns>False if the limit is passed.</returns>
    private bool Count(long bytes)
    {
        _collected += bytes;
        IsTruncated |= _collected > maxBytes;
        return !IsTruncated;
    }
}
