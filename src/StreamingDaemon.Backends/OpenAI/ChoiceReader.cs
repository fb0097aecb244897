using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Reads the choices of chunks: which one the stream shows, its finish reason, and its
/// text. A mutable struct: use it as a field, never a copy.</summary>
/// <param name="wanted"><see cref="StreamRequest.Wanted"/>.</param>
/// <param name="unshown"><see cref="StreamRequest.Unshown"/>.</param>
internal struct ChoiceReader(DeltaKinds wanted, DeltaKinds unshown) : IDisposable
{
    private AnswerParts _parts = new(wanted, unshown);
    private ShownChoice _shown = new();

    /// <summary>Text of the last event, without its reasoning.</summary>
    [UnscopedRef]
    public readonly ref readonly DeltaText Text => ref _parts.Text;

    /// <inheritdoc cref="AnswerParts.TryTakeText"/>
    public bool TryTakeText(out ReadOnlyMemory<byte> text) => _parts.TryTakeText(out text);

    /// <summary>Reasoning of the last event.</summary>
    [UnscopedRef]
    public readonly ref readonly DeltaText Reasoning => ref _parts.Reasoning;

    /// <inheritdoc cref="AnswerParts.Usage"/>
    public readonly TokenUsage? Usage => _parts.Usage;

    /// <summary>The upstream's finish reason, unchecked; null if there was none yet.</summary>
    public string? FinishReason { get; private set; }

    /// <summary>The provider's own finish reason, as a gateway reports it, unchecked.</summary>
    public string? NativeFinishReason { get; private set; }

    /// <inheritdoc cref="IEventReader.MayGoOnAfterFinish"/>
    public bool MayGoOnAfterFinish { get; private set; }

    /// <summary>The choice says that the provider failed.</summary>
    public bool IsFailed { get; private set; }

    /// <inheritdoc cref="IEventReader.HasAnswer"/>
    public readonly bool HasAnswer => _parts.HasAnswer;

    /// <inheritdoc cref="IEventReader.Parts"/>
    public readonly int Parts => _parts.Count;

    /// <inheritdoc cref="IEventReader.OnlyHeld"/>
    public readonly string? OnlyHeld => _parts.OnlyHeld;

    /// <summary>A delta brought a part of the answer.</summary>
    public readonly bool SawDelta => _parts.SawDelta;

    public void BeginEvent() => _parts.BeginEvent();

    /// <summary>Remembers the state before a JSON value that may prove unreadable.</summary>
    /// <inheritdoc cref="ValueState"/>
    public readonly ValueState Begin(bool isOther, ChoiceEnds? ends) => new(_parts.Save(), isOther, ends);

    /// <summary>Back to the state at <see cref="Begin"/>.</summary>
    public void Restore(ref ValueState value)
    {
        _parts.Restore(value.Start);
        value.LacksDelta = false;
    }

    /// <summary>No more text comes.</summary>
    public void Flush() => _parts.Flush();

    /// <inheritdoc cref="TokenUsage.TryReadField"/>
    public bool TryReadUsage(ref Utf8JsonReader reader) => Usage?.TryReadField(ref reader) == true;

    /// <inheritdoc cref="FinishReasons.NameFailed"/>
    public readonly string? FailedReason(string secret) =>
        FinishReasons.NameFailed(FinishReason, NativeFinishReason, secret);

    /// <summary>Reads the field that the reader is at, if it is a finish reason beside the choices.</summary>
    /// <returns>False if it is not: nothing was read.</returns>
    public bool TryReadFinish(ref Utf8JsonReader reader, in ValueState value)
    {
        if (reader.ValueSpan.Length is not (12 or 13) || !Choice.NamesFinish(ref reader))
            return false;
        reader.Read();
        if (FinishReasons.Read(ref reader) is not { } reason)
            return true;
        MayGoOnAfterFinish |= FinishReason is null && _parts.Count <= 1;
        FinishReason = FinishReasons.Later(FinishReason, reason);
        IsFailed |= FinishReasons.IsFailure(reason);
        value.Ends?.AddAll();
        return true;
    }

    /// <summary>Reads the field that the reader is at, if it is one of Ollama's own API, which has no
    /// choices: <c>{"message":{"content":"Hi"},"done":false}</c>.</summary>
    /// <returns>False if it is not: nothing was read.</returns>
    public bool TryReadOllama(ref Utf8JsonReader reader, ref ErrorSigns signs)
    {
        switch (reader.ValueSpan.Length)
        {
            case 4 when JsonText.Equals(ref reader, "done"u8):
                reader.Read();
                FinishReason ??= reader.TokenType == JsonTokenType.True ? "stop" : null;
                reader.Skip();
                return true;
            case 10 or 17 when Usage?.TryReadOllama(ref reader) == true:
                return true;
            case 11 when JsonText.Equals(ref reader, "done_reason"u8):
                reader.Read();
                FinishReason = FinishReasons.Later(FinishReason, FinishReasons.Read(ref reader));
                return true;
            case 7 when JsonText.Equals(ref reader, "message"u8) && JsonValue.IsObjectNext(reader):
                var count = _parts.Count;
                reader.Read();
                IsFailed |= MessageReader.Read(ref _parts, ref reader);
                signs.HasChoices |= _parts.Count > count;
                return true;
            default:
                return false;
        }
    }

    /// <summary>Reads the value of <c>x_groq</c>, Groq's place for usage and for late errors.</summary>
    /// <returns>True if it holds an error.</returns>
    public bool ReadGroq(ref Utf8JsonReader reader)
    {
        reader.Read();
        var isError = false;
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return false;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "error"u8))
            {
                reader.Read();
                isError |= !JsonValue.IsNoError(ref reader);
            }
            else if (!TryReadUsage(ref reader))
            {
                reader.Skip();
            }
        }

        return isError;
    }

    /// <summary>Reads the value of <c>choices</c>.</summary>
    /// <returns>True if there is any choice.</returns>
    public bool ReadAll(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, ref ValueState value)
    {
        if (reader.TokenType == JsonTokenType.StartObject)
        {
            ReadChoice(ref reader, json, position: 0, ref value);
            return true;
        }

        if (reader.TokenType != JsonTokenType.StartArray)
            return false;
        var count = 0;
        for (; reader.Read() && reader.TokenType != JsonTokenType.EndArray; count++)
        {
            if (reader.TokenType == JsonTokenType.StartObject)
                ReadChoice(ref reader, json, count, ref value);
            else
                reader.Skip();
        }

        return count > 0;
    }

    public void Dispose() => _parts.Dispose();

    /// <param name="reader">At the choice's object.</param>
    /// <param name="json">What the reader reads.</param>
    /// <param name="position">Its index, if it names none.</param>
    /// <param name="value">The JSON value around it.</param>
    private void ReadChoice(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> json, int position, ref ValueState value)
    {
        var before = _parts.Save();
        var start = (int)reader.TokenStartIndex;
        var choice = new Choice(position);
        _parts.InnerFinish = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            ReadField(ref reader, ref choice);
        // The index may come after the text: if the choice is not ours, its text is removed again.
        if (!_parts.IsChunks && !_shown.Takes(choice.Index, value.Taken))
        {
            _parts.Restore(before);
            return;
        }

        if (value.Taken is { } other && other != choice.Index && !_parts.IsChunks)
        {
            // Choice 0 after another one of the same event, whose text goes.
            _parts.Restore(value.Start);
            choice = new Choice(position);
            json = json[start..];
            var again = new Utf8JsonReader(json, JsonText.Options);
            again.Read();
            while (again.Read() && again.TokenType == JsonTokenType.PropertyName)
                ReadField(ref again, ref choice);
        }

        value.Taken = choice.Index;
        choice.FinishReason ??= choice.StopReason;
        value.LacksDelta |= !choice.HasDelta;
        ReadWhole(ref choice, before, json);
        choice.FinishReason ??= _parts.InnerFinish;
        IsFailed |= choice.IsFailed || (choice.FinishReason is { } reason && FinishReasons.IsFailure(reason));
        MayGoOnAfterFinish |= FinishReason is not null
            ? _parts.Count > before.Count
            : choice.FinishReason is not null && choice.HasDelta && before.Count == 0;
        FinishReason = FinishReasons.Later(FinishReason, choice.FinishReason);
        value.Ends?.Add(choice.Index, choice.FinishReason is not null);
        NativeFinishReason = choice.NativeFinishReason ?? NativeFinishReason;
    }

    private void ReadField(ref Utf8JsonReader reader, ref Choice choice)
    {
        if (JsonText.Equals(ref reader, "delta"u8))
        {
            reader.Read();
            choice.HasDelta = reader.TokenType == JsonTokenType.StartObject;
            choice.IsFailed |= MessageReader.Read(ref _parts, ref reader);
        }
        else if (JsonText.Equals(ref reader, "index"u8))
        {
            reader.Read();
            choice.ReadIndex(ref reader);
        }
        else if (choice.TryReadFinish(ref reader))
        {
        }
        else if (JsonText.Equals(ref reader, "message"u8))
        {
            choice.MessageAt = JsonValue.SkipNext(ref reader);
        }
        else if (JsonText.Equals(ref reader, "text"u8) || JsonText.Equals(ref reader, "content"u8))
        {
            choice.TextAt = JsonValue.SkipNext(ref reader);
        }
        else if (SignWords.IsErrorName(ref reader))
        {
            reader.Read();
            choice.IsFailed |= !JsonValue.IsNoError(ref reader);
        }
        else if (JsonText.Equals(ref reader, "object"u8))
        {
            reader.Read();
            choice.IsFailed |= JsonValue.Is(ref reader, "error"u8);
            reader.Skip();
        }
        else if (JsonText.Equals(ref reader, "messages"u8))
        {
            reader.Read();
            choice.IsFailed |= MessageList.Read(ref _parts, ref reader, ref choice.HasDelta);
        }
        else if (!TryReadUsage(ref reader))
        {
            reader.Skip();
        }
    }

    /// <summary>Text in <c>message</c> or <c>text</c>, if deltas bring none: some servers send the whole
    /// text so far beside each delta, or the same piece twice.</summary>
    private void ReadWhole(ref Choice choice, in AnswerParts.State before, ReadOnlySpan<byte> json)
    {
        if (choice.MessageAt >= 0 && !_parts.SawDelta)
        {
            var reader = new Utf8JsonReader(json[choice.MessageAt..], JsonText.Options);
            reader.Read();
            choice.IsFailed |= MessageReader.Read(ref _parts, ref reader, isDelta: false);
        }

        if (choice.TextAt < 0 || _parts.SawDelta || _parts.Count > before.Count)
            return;
        var text = new Utf8JsonReader(json[choice.TextAt..], JsonText.Options);
        text.Read();
        _parts.AddText(ref text);
    }
}
