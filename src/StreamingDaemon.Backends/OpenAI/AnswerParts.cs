using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The text and the reasoning of the last event, and what the answer has held so far. A mutable
/// struct, so that a stream's state is one object and near together: use it as a field, never a copy.
/// </summary>
/// <param name="wanted"><see cref="StreamRequest.Wanted"/>.</param>
/// <param name="unshown"><see cref="StreamRequest.Unshown"/>.</param>
internal struct AnswerParts(DeltaKinds wanted, DeltaKinds unshown) : IDisposable
{
    /// <summary>White space that waits for text, bytes: above it, it counts as the answer.</summary>
    private const int MostBlank = 4096;

    private readonly bool _takesReasoning = (wanted & DeltaKinds.Reasoning) != 0;
    private readonly bool _showsReasoning = (wanted & ~unshown & DeltaKinds.Reasoning) != 0;
    private DeltaText _text;
    private DeltaText _reasoning;
    private Held _held;
    private int _taken;

    /// <summary>Where the pieces of white space end that wait for text; null if none wait.</summary>
    private Queue<int>? _blanks;

    /// <summary>Parts of an answer that may be left out of a stream.</summary>
    [Flags]
    public enum Held : byte
    {
        /// <summary>None.</summary>
        Nothing = 0,

        /// <summary>Reasoning.</summary>
        Reasoning = 1,

        /// <summary>Calls of tools or of a function.</summary>
        ToolCalls = 2,

        /// <summary>Audio, images.</summary>
        Other = 4,
    }

    /// <summary>The client gets the chunks themselves, and can show whatever is in them.</summary>
    public readonly bool IsChunks { get; } = (wanted & DeltaKinds.Chunk) != 0;

    /// <summary>Null if the stream does not show token counts.</summary>
    public TokenUsage? Usage { get; } = (wanted & DeltaKinds.Usage) != 0 ? new() : null;

    [UnscopedRef]
    public readonly ref readonly DeltaText Text => ref _text;

    [UnscopedRef]
    public readonly ref readonly DeltaText Reasoning => ref _reasoning;

    /// <summary>A delta brought text, so a <c>message</c> beside it only repeats it.</summary>
    public bool SawDelta { get; set; }

    /// <summary>The content of the delta that is being read is a thought.</summary>
    public bool IsThought { get; set; }

    /// <summary>A finish reason inside the delta or message, where some gateways write it.</summary>
    public string? InnerFinish { get; set; }

    /// <inheritdoc cref="IEventReader.HasAnswer"/>
    public bool HasAnswer { get; private set; }

    /// <inheritdoc cref="IEventReader.Parts"/>
    public int Count { get; private set; }

    /// <inheritdoc cref="IEventReader.OnlyHeld"/>
    public readonly string? OnlyHeld => _held switch
    {
        Held.Nothing => _text.Length > 0 ? "white space" : null,
        Held.Reasoning => "reasoning",
        Held.ToolCalls => "tool calls",
        Held.Reasoning | Held.ToolCalls => "reasoning and tool calls",
        _ => "parts other than text",
    };

    /// <summary>Drops the last event's text. White space before any text stays: alone it is no answer, and
    /// until the text comes an error can still be a status.</summary>
    public void BeginEvent()
    {
        _reasoning.Clear();
        if (!HasAnswer && _text.Length > 0)
        {
            (_blanks ??= []).Enqueue(_text.Length);
            return;
        }

        _text.Clear();
        _taken = 0;
        _blanks = null;
    }

    /// <summary>The next piece of text that can be shown: one an event.</summary>
    public bool TryTakeText(out ReadOnlyMemory<byte> text)
    {
        text = default;
        if (!HasAnswer)
            return false;
        var end = _blanks is not null && _blanks.TryDequeue(out var blank) ? blank : _text.Length;
        if (end <= _taken)
            return end < _text.Length && TryTakeText(out text);
        text = _text.Memory[_taken..end];
        _taken = end;
        return true;
    }

    public readonly State Save() => new(_text.Save(), _reasoning.Save(), _held, SawDelta, HasAnswer, Count);

    /// <summary>Back to an earlier state of the same event.</summary>
    public void Restore(in State state)
    {
        _text.Restore(state.Text);
        _reasoning.Restore(state.Reasoning);
        _held = state.Held;
        SawDelta = state.SawDelta;
        HasAnswer = state.HasAnswer;
        Count = state.Count;
    }

    /// <summary>The answer has ended: no more text comes.</summary>
    public void Flush()
    {
        _text.Flush();
        _reasoning.Flush();
        HasAnswer |= HasText(0) || (_showsReasoning && _reasoning.Length > 0);
    }

    /// <summary>Adds the reader's value to the text, if it is a string that is not empty, or a number.
    /// </summary>
    public void AddText(ref Utf8JsonReader reader)
    {
        if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.Number)
            || reader.ValueSpan.IsEmpty)
        {
            reader.Skip();
            return;
        }

        Count++;
        var start = _text.Length;
        if (!IsChunks)
            _text.Append(ref reader);
        if (!HasAnswer)
            HasAnswer = IsChunks || HasText(start);
    }

    /// <summary>Adds the reader's string to the reasoning.</summary>
    public void AddReasoning(ref Utf8JsonReader reader)
    {
        if (reader.ValueSpan.IsEmpty)
            return;
        Hold(Held.Reasoning);
        if (!_takesReasoning)
            return;
        _reasoning.Append(ref reader);
        HasAnswer |= _showsReasoning && _reasoning.Length > 0;
    }

    /// <summary>The text from a place on was reasoning.</summary>
    /// <param name="start">Length of the text before it.</param>
    /// <param name="hadAnswer"><see cref="HasAnswer"/> before it.</param>
    public void MoveToReasoning(int start, bool hadAnswer)
    {
        _held |= Held.Reasoning;
        if (_takesReasoning)
            _reasoning.AppendRaw(_text.Memory.Span[start..]);
        _text.Truncate(start);
        HasAnswer = hadAnswer || (_showsReasoning && _reasoning.Length > 0);
    }

    /// <summary>A part that the stream leaves out.</summary>
    public void Hold(Held what)
    {
        Count++;
        _held |= what;
        HasAnswer |= IsChunks;
    }

    /// <summary>Whether the text from a place on holds anything that a reader would see.</summary>
    private readonly bool HasText(int start)
    {
        var text = _text.Memory.Span[start..];
        return _text.Length > MostBlank || text.ContainsAnyInRange((byte)'!', (byte)'~') || HasVisible(text);
    }

    /// <summary>White space of Unicode, zero-width characters and controls are a blank answer too.</summary>
    private static bool HasVisible(ReadOnlySpan<byte> text)
    {
        while (!text.IsEmpty)
        {
            _ = Rune.DecodeFromUtf8(text, out var rune, out var length);
            if (!Rune.IsWhiteSpace(rune)
                && Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format))
            {
                return true;
            }

            text = text[length..];
        }

        return false;
    }

    public void Dispose()
    {
        _text.Dispose();
        _reasoning.Dispose();
    }

    /// <summary>The state to restore if an event proves unusable.</summary>
    public readonly record struct State(
        DeltaText.Mark Text, DeltaText.Mark Reasoning, Held Held, bool SawDelta, bool HasAnswer, int Count);
}
