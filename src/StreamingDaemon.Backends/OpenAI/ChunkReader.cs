using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Reads chat completion chunks: the text goes straight from the event's bytes into one buffer that the
/// stream owns, without a string or an object for each. Finds text, errors and ends wherever servers put
/// them (docs/upstreams.md). Used by one stream at a time.
/// </summary>
/// <param name="secret">The key, which <see cref="Error"/> must not contain.</param>
/// <param name="wanted"><see cref="StreamRequest.Wanted"/>.</param>
/// <param name="unshown"><see cref="StreamRequest.Unshown"/>.</param>
internal sealed class ChunkReader(string secret, DeltaKinds wanted = DeltaKinds.Text,
    DeltaKinds unshown = DeltaKinds.None) : IDisposable
{
    private static readonly JsonReaderOptions s_json =
        new() { AllowMultipleValues = true, MaxDepth = JsonText.MaxDepth };

    private ChoiceReader _choices = new(wanted, unshown);

    /// <summary>Null if the stream does not show the chunks themselves.</summary>
    private readonly ChunkQueue? _chunks = (wanted & DeltaKinds.Chunk) != 0 ? new() : null;
    private bool _isReasoningTaken = true;
    private bool _isEnd;
    private DeltaKinds _last;

    /// <summary>Text of the last event, perhaps empty; valid until the next.</summary>
    public ReadOnlyMemory<byte> Text => _choices.Text.Memory;

    /// <summary>The choice, or each one of those whose chunks are shown, has a finish reason.</summary>
    public bool SawFinishReason => _choices.FinishReason is not null && _chunks?.Choices.IsOneOpen != true;

    /// <inheritdoc cref="IEventReader.MayGoOnAfterFinish"/>
    public bool MayGoOnAfterFinish => _choices.MayGoOnAfterFinish;

    /// <inheritdoc cref="IEventReader.FinishReason"/>
    public string? FinishReason => UpstreamErrorCode.Name(_choices.FinishReason, secret);

    /// <inheritdoc cref="IEventReader.Error"/>
    public string? Error { get; private set; }

    /// <inheritdoc cref="IEventReader.LacksModel"/>
    public bool LacksModel { get; private set; }

    /// <inheritdoc cref="IEventReader.HasAnswer"/>
    public bool HasAnswer => _choices.HasAnswer;

    /// <inheritdoc cref="IEventReader.Parts"/>
    public int Parts => _choices.Parts;

    /// <inheritdoc cref="IEventReader.OnlyHeld"/>
    public string? OnlyHeld => _choices.OnlyHeld;

    /// <inheritdoc cref="IEventReader.Read"/>
    public EventKind Read(string eventType, ReadOnlySpan<byte> data)
    {
        _choices.BeginEvent();
        _chunks?.BeginEvent();
        _isReasoningTaken = false;
        data = data.Trim(" \t\r\n"u8);
        if (eventType == IEventReader.MessageEvent)
            return ReadData(data, isOther: false);
        if (eventType == IEventReader.ErrorEvent)
            return ReadErrorEvent(data);
        var kind = ReadData(data, isOther: true);
        var isEnd = eventType == IEventReader.EndEvent && kind == EventKind.Delta && HasAnswer;
        return isEnd ? EventKind.Done : kind;
    }

    private EventKind ReadData(ReadOnlySpan<byte> data, bool isOther)
    {
        var isRepaired = false;
        ReadOnlySpan<byte> unrepaired = default;
        while (!data.IsEmpty)
        {
            if (data[0] != (byte)'{')
            {
                if (EventWords.TryUnwrap(ref data))
                    continue;
                if (EventWords.KindOf(data) is { } word)
                    return word;
            }

            var kind = ReadValue(data, isOther, out var length);
            if (kind == EventKind.Malformed)
            {
                // Once: of many commas it removes one, and a second try would have no end in sight.
                if (!isRepaired && data[0] is (byte)'{' or (byte)'['
                    && JsonRepair.Repair(data) is { } repaired)
                {
                    isRepaired = true;
                    unrepaired = data;
                    data = repaired;
                    continue;
                }

                var error = ErrorWrapper.AfterCut(isRepaired ? unrepaired : data);
                if (!error.IsEmpty)
                    return ReadErrorEvent(error);
                // Events of other names (ping, heartbeat …) may hold anything.
                return isOther ? EventKind.Delta : kind;
            }

            if (kind != EventKind.Delta)
                return kind;
            // Usually nothing follows. Some servers put several objects into one event.
            data = data[length..].TrimStart(" \t\r\n"u8);
            if (data.StartsWith((byte)','))
                data = data[1..].TrimStart(" \t\r\n"u8);
        }

        return EventKind.Delta;
    }

    /// <inheritdoc cref="IEventReader.End"/>
    public void End(bool isWhole)
    {
        _choices.BeginEvent();
        _choices.Flush();
        _chunks?.BeginEvent();
        _isReasoningTaken = false;
        if (!isWhole || _chunks is not null || !HasAnswer)
            return;
        if (FinishReason is not null)
            _last |= wanted & DeltaKinds.FinishReason;
        if (_choices.Usage is { HasAny: true })
            _last |= wanted & DeltaKinds.Usage;
    }

    /// <inheritdoc cref="IEventReader.TryTake"/>
    public bool TryTake(out StreamDelta delta)
    {
        if (_chunks is not null)
            return _chunks.TryTake(HasAnswer, out delta);
        if (!_isReasoningTaken)
        {
            // Both in one event: the model thought before it spoke.
            _isReasoningTaken = true;
            if (_choices.Reasoning.Length > 0)
            {
                delta = new StreamDelta(_choices.Reasoning.Memory, DeltaKinds.Reasoning);
                return true;
            }
        }

        if (_choices.TryTakeText(out var text))
        {
            delta = new StreamDelta(text);
            return true;
        }

        delta = default;
        return _last != DeltaKinds.None && TryTakeLast(out delta);
    }

    public void Dispose()
    {
        _choices.Dispose();
        _chunks?.Dispose();
    }

    private EventKind ReadErrorEvent(ReadOnlySpan<byte> data)
    {
        LacksModel = MissingModel.IsNamed(data);
        Error = UpstreamErrorCode.FromBody(data, secret)
            ?? UpstreamErrorCode.Name(
                Encoding.UTF8.GetString(data[..Math.Min(data.Length, 80)].Trim((byte)'"')), secret);
        return EventKind.Error;
    }

    /// <summary>Reads the JSON value that the data begins with.</summary>
    /// <param name="data">Begins with the value.</param>
    /// <param name="isOther">The event has a name.</param>
    /// <param name="length">Length of the value, if it is a delta.</param>
    private EventKind ReadValue(ReadOnlySpan<byte> data, bool isOther, out int length)
    {
        length = data.Length;
        if (data[0] is not ((byte)'{' or (byte)'['))
            return EventKind.Malformed;
        var value = _choices.Begin(isOther, _chunks?.Choices);
        var mark = _chunks?.Mark;
        try
        {
            var reader = new Utf8JsonReader(data, s_json);
            reader.Read();
            var isError = ReadRoots(ref reader, data, ref value);
            length = (int)reader.BytesConsumed;
            return isError ? EventKind.Error : _isEnd ? EventKind.Done : EventKind.Delta;
        }
        catch (JsonException)
        {
            _choices.Restore(ref value);
            if (mark is { } start)
                _chunks!.Restore(start);
            return EventKind.Malformed;
        }
    }

    /// <summary>An object, or an array of objects, as some gateways wrap their errors.</summary>
    private bool ReadRoots(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, ref ValueState choices)
    {
        if (reader.TokenType == JsonTokenType.StartObject)
            return ReadRoot(ref reader, json, ref choices);
        var isError = false;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType == JsonTokenType.StartObject)
                isError |= ReadRoot(ref reader, json, ref choices);
            else
                reader.Skip();
        }

        return isError;
    }

    /// <returns>True if the object carries an error.</returns>
    private bool ReadRoot(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, ref ValueState choices)
    {
        var (start, parts) = ((int)reader.TokenStartIndex, _choices.Parts);
        var signs = new ErrorSigns { IsOtherEvent = choices.IsOther };
        var (isArray, isForeign) = (false, false);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "choices"u8))
            {
                reader.Read();
                signs.HasChoicesField = true;
                isArray = reader.TokenType == JsonTokenType.StartArray;
                isForeign |= PlainChunk.IsNumbered(reader);
                signs.HasChoices |= _choices.ReadAll(ref reader, json, ref choices);
            }
            else if (reader.ValueSpan.Length == 7 && PlainChunk.TrySkip(ref reader))
            {
                isForeign = true;
            }
            else if (reader.ValueSpan.Length == 6 && JsonText.Equals(ref reader, "x_groq"u8))
            {
                signs.IsCertain |= _choices.ReadGroq(ref reader);
            }
            else if (!_choices.TryReadUsage(ref reader) && !_choices.TryReadFinish(ref reader, choices)
                && (_chunks is not null || !_choices.TryReadOllama(ref reader, ref signs)))
            {
                signs.ReadField(ref reader);
            }
        }

        var value = json[start..(int)reader.BytesConsumed];
        if (isForeign)
        {
            _choices.Restore(ref choices);
            return ReadEnveloped(PlainChunk.Of(value), ref choices);
        }

        var isBlank = signs.IsErrorIfBlank && parts == _choices.Parts && _choices.FinishReason is null;
        if (signs.IsError || _choices.IsFailed || isBlank)
        {
            // The error itself may be a string beside its status.
            if (signs.EnvelopeAt is { } at && json[at] == (byte)'"' && ReadEnveloped(json[at..], ref choices))
                return true;
            Error = UpstreamErrorCode.FromBody(value, secret) ?? _choices.FailedReason(secret);
            LacksModel = signs.IsError && MissingModel.IsNamed(value);
            return true;
        }

        _isEnd |= signs.IsEnd && !signs.HasChoicesField && HasAnswer;
        if (signs.EnvelopeAt is { } innerAt && !signs.HasChoicesField)
            return ReadEnveloped(json[innerAt..], ref choices);
        // An event of another name without choices is none: a ping, a status.
        if (_chunks is not null && (isArray || signs.HasChoices || !choices.IsOther))
            _chunks.Add(value, isArray && !choices.LacksDelta, _choices.SawDelta);
        return false;
    }

    /// <summary>The chunk inside an envelope: <c>{"code":0,"data":{"choices":[…]}}</c>, or
    /// <c>{"data":"{\"choices\":[…]}"}</c>.</summary>
    private bool ReadEnveloped(ReadOnlySpan<byte> json, ref ValueState choices)
    {
        var reader = new Utf8JsonReader(json, s_json);
        reader.Read();
        if (reader.TokenType == JsonTokenType.StartObject)
            return ReadRoot(ref reader, json, ref choices);
        return ReadValue(JsonText.Decode(reader.ValueSpan), choices.IsOther, out _) == EventKind.Error;
    }

    private bool TryTakeLast(out StreamDelta delta)
    {
        if ((_last & DeltaKinds.FinishReason) != 0)
        {
            _last &= ~DeltaKinds.FinishReason;
            delta = new StreamDelta(Encoding.UTF8.GetBytes(FinishReason!), DeltaKinds.FinishReason);
            return true;
        }

        _last = DeltaKinds.None;
        delta = new StreamDelta(_choices.Usage!.ToJson(), DeltaKinds.Usage);
        return true;
    }
}
