using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Makes a chunk of an object that is nearly one, because clients of the API take
/// <c>choices[0].delta</c> for granted: a whole completion, <c>message</c> or <c>text</c> in place of
/// <c>delta</c>, choices that are null, missing or one object. Everything else stays byte for byte.
/// </summary>
/// <param name="json">An object that <see cref="Utf8JsonReader"/> accepts.</param>
/// <param name="repeats">A message or text repeats what deltas have brought: its delta is empty.</param>
/// <param name="output">The chunk is added to it.</param>
internal ref struct ChunkEditor(ReadOnlySpan<byte> json, bool repeats, ref DeltaText output)
{
    private readonly ReadOnlySpan<byte> _json = json;
    private readonly bool _repeats = repeats;
    private readonly ref DeltaText _output = ref output;

    /// <summary>How much of the object is in the output.</summary>
    private int _copied;

    public void Edit()
    {
        var reader = new Utf8JsonReader(_json, JsonText.Options);
        reader.Read();
        var (hasAny, hasChoices) = (false, false);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            hasAny = true;
            var isObject = JsonText.Equals(ref reader, "object"u8);
            var isChoices = JsonText.Equals(ref reader, "choices"u8);
            hasChoices |= isChoices;
            reader.Read();
            if (isChoices)
            {
                EditChoices(ref reader);
            }
            else if (isObject && JsonValue.Is(ref reader, "chat.completion"u8))
            {
                Replace((int)reader.TokenStartIndex, (int)reader.BytesConsumed,
                    "\"chat.completion.chunk\""u8);
            }
            else
            {
                reader.Skip();
            }
        }

        if (!hasChoices)
            Insert((int)reader.TokenStartIndex, hasAny ? ",\"choices\":[]"u8 : "\"choices\":[]"u8);
        CopyTo(_json.Length);
    }

    private void EditChoices(ref Utf8JsonReader reader)
    {
        var start = (int)reader.TokenStartIndex;
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                Insert(start, "["u8);
                EditChoice(ref reader);
                Insert((int)reader.BytesConsumed, "]"u8);
                break;
            case JsonTokenType.StartArray:
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                {
                    if (reader.TokenType == JsonTokenType.StartObject)
                        EditChoice(ref reader);
                    else
                        reader.Skip();
                }

                break;
            default:
                Replace(start, (int)reader.BytesConsumed, "[]"u8);
                break;
        }
    }

    private void EditChoice(ref Utf8JsonReader reader)
    {
        var start = (int)reader.TokenStartIndex;
        Field delta = default, message = default, text = default;
        var isEmpty = true;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            isEmpty = false;
            if (JsonText.Equals(ref reader, "delta"u8))
                delta = Field.Read(ref reader);
            else if (JsonText.Equals(ref reader, "message"u8))
                message = Field.Read(ref reader);
            else if (JsonText.Equals(ref reader, "text"u8))
                text = Field.Read(ref reader);
            else
                reader.Skip();
        }

        if (delta.Type == JsonTokenType.StartObject)
            return;
        if (delta.Type == JsonTokenType.String)
            EditText(delta);
        else if (delta.Type != JsonTokenType.None)
            Replace(delta.Start, delta.End, "{}"u8);
        else if (message.Type == JsonTokenType.StartObject && !_repeats)
            EditMessage(message);
        else if (text.Type == JsonTokenType.String && !_repeats)
            EditText(text);
        else
            Insert(start + 1, isEmpty ? "\"delta\":{}"u8 : "\"delta\":{},"u8);
    }

    private void EditText(in Field text)
    {
        Replace(text.NameStart, text.NameEnd, "\"delta\""u8);
        Insert(text.Start, "{\"content\":"u8);
        Insert(text.End, "}"u8);
    }

    /// <summary>Clients put the pieces of tool calls together by their <c>index</c>, which a whole message
    /// does not have.</summary>
    private void EditMessage(in Field message)
    {
        Replace(message.NameStart, message.NameEnd, "\"delta\""u8);
        var reader = new Utf8JsonReader(_json[message.Start..message.End], JsonText.Options);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isToolCalls = JsonText.Equals(ref reader, "tool_calls"u8);
            reader.Read();
            if (!isToolCalls || reader.TokenType != JsonTokenType.StartArray)
            {
                reader.Skip();
                continue;
            }

            for (var index = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; index++)
            {
                if (reader.TokenType == JsonTokenType.StartObject)
                    EditToolCall(ref reader, message.Start, index);
                else
                    reader.Skip();
            }
        }
    }

    private void EditToolCall(ref Utf8JsonReader reader, int offset, int index)
    {
        var start = offset + (int)reader.TokenStartIndex + 1;
        var (isEmpty, hasIndex) = (true, false);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            isEmpty = false;
            hasIndex |= JsonText.Equals(ref reader, "index"u8);
            reader.Skip();
        }

        if (!hasIndex)
        {
            Insert(start, Encoding.UTF8.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"\"index\":{index}{(isEmpty ? "" : ",")}")));
        }
    }

    private void Insert(int at, ReadOnlySpan<byte> bytes) => Replace(at, at, bytes);

    private void Replace(int start, int end, ReadOnlySpan<byte> bytes)
    {
        CopyTo(start);
        _output.AppendRaw(bytes);
        _copied = end;
    }

    private void CopyTo(int end)
    {
        _output.AppendRaw(_json[_copied..end]);
        _copied = end;
    }

    /// <summary>Where a field's name and value are.</summary>
    private readonly record struct Field(int NameStart, int NameEnd, int Start, int End, JsonTokenType Type)
    {
        /// <summary>Reads the field whose name the reader is at, to the end of its value.</summary>
        public static Field Read(ref Utf8JsonReader reader)
        {
            var (nameStart, nameLength) = ((int)reader.TokenStartIndex, reader.ValueSpan.Length + 2);
            reader.Read();
            var (start, type) = ((int)reader.TokenStartIndex, reader.TokenType);
            reader.Skip();
            return new Field(nameStart, nameStart + nameLength, start, (int)reader.BytesConsumed, type);
        }
    }
}
