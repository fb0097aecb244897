using System.Buffers.Text;
using System.Collections.Frozen;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// What the fields of one event say about an error. A field <c>error</c> that holds anything is one, beside
/// text too; most others are one only in an event without choices.
/// </summary>
internal struct ErrorSigns
{
    /// <summary>From here on a code is no status but a gateway's own, which may stand for success.</summary>
    private const int MinOwnCode = 1000;

    private int? _envelopeAt;
    private bool _isLikely;
    private bool _hasOwnCode;

    /// <summary>The message is a word for success.</summary>
    private bool _saysSuccess;
    private bool _hasMessage;

    /// <summary>A code or a flag says that the request failed.</summary>
    private bool _saysFailure;

    /// <summary>A field for an error's text or type: beside choices too, unless a code says success.
    /// </summary>
    private bool _hasErrorText;

    /// <summary>A code or status that stands for success: the text beside it is no error's.</summary>
    private bool _isSuccess;

    /// <summary>A status that says that the answer is still to come.</summary>
    private bool _isNotYet;

    /// <summary>An object of any other name holds an error.</summary>
    private bool _isWrapped;

    /// <summary>The event is one, whatever else it holds.</summary>
    public bool IsCertain { get; set; }

    /// <summary>The event has a name: a message in it may be for people ("loading the model").</summary>
    public bool IsOtherEvent { get; init; }

    /// <summary>The event has a choice.</summary>
    public bool HasChoices { get; set; }

    /// <summary>The event has the field for choices, perhaps an empty one.</summary>
    public bool HasChoicesField { get; set; }

    /// <summary>Where an object of the event begins that holds choices, or a string that holds an
    /// object: the event is an envelope around a chunk.</summary>
    public readonly int? EnvelopeAt => _envelopeAt;

    /// <summary>The event says that the answer has ended, if it has no choices and there is one.</summary>
    public bool IsEnd { get; private set; }

    /// <summary>The event is an error.</summary>
    public readonly bool IsError => IsCertain || (_hasErrorText && !_isSuccess)
        || ((HasCode || IsLikelyAlone) && !_isSuccess && !HasChoices);

    /// <summary>The event is an error if its choices bring no part of an answer: gateways write a code and a
    /// message beside what is left of a chunk.</summary>
    public readonly bool IsErrorIfBlank =>
        HasChoices && ((_hasMessage && HasCode) || _saysFailure) && !_isSuccess;

    private readonly bool HasCode => _isLikely || _saysFailure || (_hasOwnCode && !_saysSuccess);

    /// <summary>Signs that count only if nothing says that the event is something else.</summary>
    private readonly bool IsLikelyAlone => !IsOtherEvent
        && ((_hasMessage && !_isNotYet && !IsEnd && (EnvelopeAt is null || HasChoicesField))
            || (_isWrapped && !HasChoicesField));

    /// <summary>Reads one field of the event's object. The reader is at its name, and ends after its value.
    /// </summary>
    public void ReadField(ref Utf8JsonReader reader)
    {
        // By length first: most fields of a chunk are none of these.
        switch (reader.ValueSpan.Length)
        {
            case 3 when JsonText.Equals(ref reader, "msg"u8):
            case 7 when JsonText.Equals(ref reader, "content"u8):
            case 7 when JsonText.Equals(ref reader, "message"u8) || JsonText.Equals(ref reader, "Message"u8):
                var isMessage = reader.ValueSpan[0] != (byte)'c';
                reader.Read();
                ReadMessage(ref reader, isMessage);
                break;
            case 4 when JsonText.Equals(ref reader, "type"u8):
            case 5 when JsonText.Equals(ref reader, "event"u8) || JsonText.Equals(ref reader, "level"u8):
            case 6 when JsonText.Equals(ref reader, "object"u8) || JsonText.Equals(ref reader, "__type"u8):
                reader.Read();
                ReadKind(ref reader);
                break;
            case 4 when JsonText.Equals(ref reader, "code"u8):
            case 5 or 6 or >= 8 and <= 11 when SignWords.IsCodeName(ref reader):
                reader.Read();
                ReadCode(ref reader);
                break;
            case 9 when JsonText.Equals(ref reader, "errorCode"u8):
            case 10 when JsonText.Equals(ref reader, "error_code"u8):
                reader.Read();
                ReadErrorCode(ref reader);
                break;
            case 9 when JsonText.Equals(ref reader, "error_msg"u8)
                || JsonText.Equals(ref reader, "errorType"u8):
            case 10 when JsonText.Equals(ref reader, "error_type"u8):
            case 12 when JsonText.Equals(ref reader, "errorMessage"u8):
            case 13 when JsonText.Equals(ref reader, "error_message"u8):
                reader.Read();
                _hasErrorText |= !JsonValue.IsNoError(ref reader);
                break;
            case 5 when JsonText.Equals(ref reader, "fault"u8):
            case 6 when JsonText.Equals(ref reader, "detail"u8):
            case 9 when JsonText.Equals(ref reader, "exception"u8)
                || JsonText.Equals(ref reader, "traceback"u8):
                reader.Read();
                _isLikely |= !JsonValue.IsNoError(ref reader);
                break;
            case 2 when JsonText.Equals(ref reader, "ok"u8):
            case 7 when JsonText.Equals(ref reader, "success"u8):
                reader.Read();
                _saysFailure |= reader.TokenType == JsonTokenType.False || JsonValue.Is(ref reader, "false"u8)
                    || (reader.TokenType == JsonTokenType.Number && JsonValue.IsNothing(ref reader));
                _isSuccess |= reader.TokenType == JsonTokenType.True;
                break;
            case >= 3 when SignWords.IsErrorName(ref reader):
                ReadErrorField(ref reader);
                break;
            default:
                ReadRareField(ref reader);
                break;
        }

        SkipRest(ref reader);
    }

    /// <summary>Reads a field whose name does not tell what it says.</summary>
    private void ReadRareField(ref Utf8JsonReader reader)
    {
        switch (reader.ValueSpan.Length)
        {
            case 4 when JsonText.Equals(ref reader, "data"u8):
            case 8 when JsonText.Equals(ref reader, "response"u8)
                || JsonText.Equals(ref reader, "Response"u8):
                reader.Read();
                IsEnd |= JsonValue.Is(ref reader, "[DONE]"u8);
                if (reader.TokenType == JsonTokenType.String && reader.ValueSpan.StartsWith((byte)'{'))
                    _envelopeAt ??= (int)reader.TokenStartIndex;
                IsCertain |= ErrorWrapper.Read(ref reader, ref _envelopeAt);
                break;
            case 9 when JsonText.Equals(ref reader, "base_resp"u8):
                reader.Read();
                IsCertain |= JsonValue.HasErrorCode(ref reader, "status_code"u8);
                break;
            case 4 when JsonText.Equals(ref reader, "meta"u8) && JsonValue.IsObjectNext(reader):
                reader.Read();
                var look = reader;
                _isWrapped |= ErrorWrapper.Read(ref look, ref _envelopeAt);
                ReadStatus(ref reader);
                break;
            case 6 when JsonText.Equals(ref reader, "header"u8):
                reader.Read();
                _isLikely |= JsonValue.HasErrorCode(ref reader, "code"u8);
                break;
            case 5 or 6 or 8 or 11 when SignWords.IsEndFlag(ref reader):
                reader.Read();
                IsEnd |= reader.TokenType == JsonTokenType.True;
                break;
            default:
                ReadAnyField(ref reader);
                break;
        }
    }

    private static void SkipRest(ref Utf8JsonReader reader)
    {
        // A scalar's value is skipped already, an object's or array's end too.
        if (reader.TokenType is JsonTokenType.PropertyName or JsonTokenType.StartObject
            or JsonTokenType.StartArray)
        {
            reader.Skip();
        }
    }

    /// <summary>Bedrock's own stream: <c>{"throttlingException":{"message":…}}</c>. Or <c>is_error</c>, or an
    /// object around an error.</summary>
    private void ReadAnyField(ref Utf8JsonReader reader)
    {
        var isException = reader.ValueSpan.EndsWith("Exception"u8);
        // failure, failed, fail_reason; but not failover.
        var isFailure = reader.ValueSpan.StartsWith("fail"u8) && !reader.ValueSpan.StartsWith("failo"u8);
        var isResult = reader.ValueSpan.SequenceEqual("result"u8);
        var isFlag = reader.ValueSpan.EndsWith("_error"u8) || reader.ValueSpan.EndsWith("sError"u8);
        reader.Read();
        var isTrue = reader.TokenType == JsonTokenType.True;
        if (isException)
            _isLikely |= !JsonValue.IsNothing(ref reader);
        else if (isFlag)
            _isLikely |= isTrue || ErrorWrapper.Read(ref reader, ref _envelopeAt);
        else if (isFailure)
            _isLikely |= !JsonValue.IsNoError(ref reader);
        else if (isResult && (JsonValue.Is(ref reader, "error"u8) || JsonValue.Is(ref reader, "failed"u8)))
            _isLikely = true;
        else
            _isWrapped |= ErrorWrapper.Read(ref reader, ref _envelopeAt);
    }

    /// <summary>A field <c>error</c> is certain, a longer name only likely.</summary>
    private void ReadErrorField(ref Utf8JsonReader reader)
    {
        var isWhole = reader.ValueIsEscaped || reader.ValueSpan.Length == "error"u8.Length;
        reader.Read();
        _isSuccess |= isWhole && reader.TokenType == JsonTokenType.False;
        var isError = !JsonValue.IsNoError(ref reader);
        IsCertain |= isError && isWhole;
        _isLikely |= isError;
    }

    private void ReadErrorCode(ref Utf8JsonReader reader)
    {
        var isSuccess = reader.TokenType is JsonTokenType.Number or JsonTokenType.String
            && !reader.ValueSpan.IsEmpty && JsonValue.IsNoError(ref reader);
        _isSuccess |= isSuccess;
        IsCertain |= !isSuccess && !JsonValue.IsNoError(ref reader);
    }

    /// <summary>A word that names an error. An object's usual word is <c>chat.completion.chunk</c>.</summary>
    private void ReadKind(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.String || reader.ValueSpan.StartsWith("chat."u8))
            return;
        IsCertain |= JsonValue.Is(ref reader, "error"u8);
        _isLikely |= SseField.NamesError(reader.ValueSpan);
        IsEnd |= SseField.NamesEnd(reader.ValueSpan);
        _isNotYet |= FinishReasons.IsNotYet(ref reader) || SignWords.IsNote(JsonText.Read(ref reader));
    }

    /// <param name="reader">At the value.</param>
    /// <param name="isMessage">False for a field that is a message only to say that the answer ends.</param>
    private void ReadMessage(ref Utf8JsonReader reader, bool isMessage)
    {
        if (reader.TokenType != JsonTokenType.String)
            return;
        ErrorWrapper.Note(ref reader, ref _envelopeAt);
        var message = SignWords.IsShort(ref reader) ? JsonText.Read(ref reader) : null;
        var isSuccess = message is not null && SignWords.SaysSuccess(message);
        IsEnd |= message == "[DONE]";
        _saysSuccess |= isSuccess;
        _hasMessage |= isMessage && !isSuccess && !reader.ValueSpan.IsEmpty;
    }

    private void ReadCode(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.StartObject)
        {
            ReadStatus(ref reader);
        }
        else if (reader.TokenType is JsonTokenType.Number or JsonTokenType.String
            && Utf8Parser.TryParse(reader.ValueSpan, out long code, out var length)
            && length == reader.ValueSpan.Length)
        {
            _isSuccess |= code is 0 or (>= 200 and < 300);
            _saysFailure |= code is not (0 or (>= 100 and < 400) or >= MinOwnCode);
            _hasOwnCode |= code >= MinOwnCode;
        }
        else if (reader.TokenType == JsonTokenType.String)
        {
            var word = JsonText.Read(ref reader);
            _saysFailure |= SseField.NamesError(reader.ValueSpan) || FinishReasons.IsFailure(word);
            _isSuccess |= SignWords.SaysSuccess(word);
            // A message beside it tells people how long the queue is.
            _isNotYet |= FinishReasons.IsNotYet(ref reader);
        }
    }

    /// <summary>An object with a code and a message, as CLOVA's <c>{"status":{"code":"42901",…}}</c>. Without
    /// a code, the message says nothing about an error.</summary>
    private void ReadStatus(ref Utf8JsonReader reader)
    {
        Utf8JsonReader message = default;
        var hasCode = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isCode = JsonText.Equals(ref reader, "code"u8);
            var isMessage = JsonText.Equals(ref reader, "message"u8);
            reader.Read();
            message = isMessage ? reader : message;
            hasCode |= isCode;
            if (isCode && reader.TokenType != JsonTokenType.StartObject)
                ReadCode(ref reader);
            reader.Skip();
        }

        if (hasCode)
            ReadMessage(ref message, isMessage: true);
    }
}
