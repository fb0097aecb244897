using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Objects around an error or a chunk.</summary>
internal static class ErrorWrapper
{
    /// <summary>The most objects around an error.</summary>
    private const int Deepest = 3;

    /// <summary>Reads an object in which only an error, a chunk, and AWS's <c>__type</c> count, and objects
    /// of usual names around them. Reads to its end.</summary>
    /// <param name="reader">At the value; anything but an object holds nothing.</param>
    /// <param name="chunkAt">Where an object with choices begins.</param>
    /// <param name="depth">How deep the object is.</param>
    /// <returns>True if it holds an error.</returns>
    public static bool Read(ref Utf8JsonReader reader, ref int? chunkAt, int depth = 1)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            Note(ref reader, ref chunkAt);
            return false;
        }

        var (start, hasError) = ((int)reader.TokenStartIndex, false);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isError = reader.ValueSpan.Length == "error"u8.Length && SignWords.IsErrorName(ref reader);
            var isChoices = !isError && (JsonText.Equals(ref reader, "choices"u8)
                || JsonText.Equals(ref reader, "Choices"u8));
            var isType = reader.ValueSpan.Length == "__type"u8.Length
                && JsonText.Equals(ref reader, "__type"u8);
            var isWrapper = depth < Deepest && IsUsual(ref reader);
            reader.Read();
            if (isChoices && reader.TokenType is JsonTokenType.StartArray or JsonTokenType.StartObject)
                chunkAt ??= start;
            if (isError)
                hasError |= !JsonValue.IsNoError(ref reader);
            else if (isType && reader.TokenType == JsonTokenType.String)
                hasError |= SseField.NamesError(reader.ValueSpan);
            else if (isWrapper && reader.TokenType == JsonTokenType.StartObject)
                hasError |= Read(ref reader, ref chunkAt, depth + 1);
            else
                reader.Skip();
        }

        return hasError;
    }

    /// <summary>Notes a string that holds an object with choices or an error.</summary>
    public static void Note(ref Utf8JsonReader reader, ref int? chunkAt)
    {
        if (reader.TokenType == JsonTokenType.String && reader.ValueSpan.StartsWith((byte)'{')
            && (reader.ValueSpan.IndexOf("\\\"choices\\\""u8) >= 0
                || reader.ValueSpan.IndexOf("\\\"error\\\""u8) >= 0))
        {
            chunkAt ??= (int)reader.TokenStartIndex;
        }
    }

    /// <summary>What may be the next line of an event that was cut: a gateway lost its upstream, and wrote an
    /// error there.</summary>
    /// <returns>Empty if there is no such line.</returns>
    public static ReadOnlySpan<byte> AfterCut(ReadOnlySpan<byte> data)
    {
        var last = data[(data.LastIndexOf((byte)'\n') + 1)..];
        return last.Length < data.Length && last.StartsWith((byte)'{') && IsError(last)
            ? last
            : default;
    }

    /// <inheritdoc cref="IEventReader.IsError"/>
    public static bool IsError(ReadOnlySpan<byte> data)
    {
        try
        {
            var reader = new Utf8JsonReader(data, JsonText.Options);
            var signs = new ErrorSigns();
            while (reader.Read() && reader.TokenType == JsonTokenType.StartArray)
            {
            }

            if (reader.TokenType != JsonTokenType.StartObject)
                return false;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                signs.ReadField(ref reader);
            return signs.IsError;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static bool IsUsual(ref Utf8JsonReader reader) => reader.ValueSpan.Length switch
    {
        4 => JsonText.Equals(ref reader, "data"u8) || JsonText.Equals(ref reader, "body"u8),
        6 => JsonText.Equals(ref reader, "output"u8) || JsonText.Equals(ref reader, "result"u8)
            || JsonText.Equals(ref reader, "header"u8),
        7 => JsonText.Equals(ref reader, "payload"u8),
        8 => JsonText.Equals(ref reader, "response"u8),
        _ => false,
    };
}
