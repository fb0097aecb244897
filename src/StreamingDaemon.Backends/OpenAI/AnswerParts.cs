using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The text and the reasoning of the last event, and what the answer has held so far.</summary>
/// <param name="wanted"><see cref="StreamRequest.Wanted"/>.</param>
/// <param name="unshown"><see cref="StreamRequest.Unshown"/>.</param>
internal sealed class AnswerParts(DeltaKinds wanted, DeltaKinds unshown) : IDisposable
{
    private readonly bool _takesReasoning = (wanted & DeltaKinds.Reasoning) != 0;
    private readonly bool _showsReasoning = (wanted & ~unshown & DeltaKinds.Reasoning) != 0;
    private DeltaText _text;
    private DeltaText _reasoning;
    private Held _held;

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
    public bool IsChunks { get; } = (wanted & DeltaKinds.Chunk) != 0;

    public ref readonly DeltaText Text => ref _text;

    public ref readonly DeltaText Reasoning => ref _reasoning;

    /// <summary>A delta brought text, so a <c>message</c> beside it only repeats it.</summary>
    public bool SawDelta { get; set; }

    /// <summary>The content of the delta that is being read is a thought.</summary>
    public bool IsThought { get; set; }

    /// <inheritdoc cref="IEventReader.HasAnswer"/>
    public bool HasAnswer { get; private set; }

    /// <inheritdoc cref="IEventReader.Parts"/>
    public int Count { get; private set; }

    /// <inheritdoc cref="IEventReader.OnlyHeld"/>
    public string? OnlyHeld => _held switch
    {
        Held.Nothing => null,
        Held.Reasoning => "reasoning",
        Held.ToolCalls => "tool calls",
        Held.Reasoning | Held.ToolCalls => "reasoning and tool calls",
        _ => "parts other than text",
    };

    public void BeginEvent()
    {
        _text.Clear();
        _reasoning.Clear();
    }

    public State Save() => new(_text, _reasoning, _held, SawDelta, HasAnswer, Count);

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
        HasAnswer |= _text.Length > 0 || (_showsReasoning && _reasoning.Length > 0);
    }

    /// <summary>Adds the reader's value to the text, if it is a string that is not empty.</summary>
    public void AddText(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.String || reader.ValueSpan.IsEmpty)
        {
            reader.Skip();
            return;
        }

        Count++;
        if (!IsChunks)
            _text.Append(ref reader);
        HasAnswer |= IsChunks || _text.Length > 0;
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

    public void Dispose()
    {
        _text.Dispose();
        _reasoning.Dispose();
    }

    /// <summary>The state to restore if an event proves unusable.</summary>
    public readonly record struct State(
        DeltaText Text, DeltaText Reasoning, Held Held, bool SawDelta, bool HasAnswer, int Count);
}
