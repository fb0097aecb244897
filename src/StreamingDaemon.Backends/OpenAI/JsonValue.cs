using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>What the JSON value is that the reader is at.</summary>
internal static class JsonValue
{
    /// <summary>True for null, false, 0, "", and arrays and objects of nothing else: servers send them for
    /// a field that is absent. Reads to the value's end.</summary>
    public static bool IsNothing(ref Utf8JsonReader reader) => IsNothing(ref reader, orWord: false);

    /// <summary>True if the value of a field for errors says that there is none: <see
    /// cref="IsNothing(ref Utf8JsonReader)"/>, or a word for nothing or for success, alone or in an object.
    /// Reads to the value's end.</summary>
    public static bool IsNoError(ref Utf8JsonReader reader) => IsNothing(ref reader, orWord: true);

    /// <summary>Skips the value after the name that the reader is at.</summary>
    /// <returns>Where it begins.</returns>
    public static int SkipNext(ref Utf8JsonReader reader)
    {
        reader.Read();
        var at = (int)reader.TokenStartIndex;
        reader.Skip();
        return at;
    }

    /// <summary>True if the value is the string.</summary>
    public static bool Is(ref Utf8JsonReader reader, ReadOnlySpan<byte> text) =>
        reader.TokenType == JsonTokenType.String && JsonText.Equals(ref reader, text);

    /// <summary>True if the value after the name is an object. By value: the caller's reader stays at the
    /// name.</summary>
    public static bool IsObjectNext(Utf8JsonReader reader) =>
        reader.Read() && reader.TokenType == JsonTokenType.StartObject;

    /// <summary>True if the value is an object whose <c>status_code</c> names an error, as MiniMax has it:
    /// <c>{"status_code":1004,"status_msg":…}</c>; 0 is success.</summary>
    public static bool HasStatusCode(ref Utf8JsonReader reader)
    {
        var isError = false;
        if (reader.TokenType != JsonTokenType.StartObject)
            return isError;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isCode = JsonText.Equals(ref reader, "status_code"u8);
            reader.Read();
            if (isCode)
                isError |= !IsNothing(ref reader);
            else
                reader.Skip();
        }

        return isError;
    }

    private static bool IsNothing(ref Utf8JsonReader reader, bool orWord)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.Null or JsonTokenType.False:
                return true;
            case JsonTokenType.String:
                return reader.ValueSpan.IsEmpty || (orWord && IsWordForNoError(reader.ValueSpan));
            case JsonTokenType.Number:
                return reader.TryGetDouble(out var number) && number == 0;
            case JsonTokenType.StartArray or JsonTokenType.StartObject:
                break;
            default:
                return false;
        }

        var isNothing = true;
        var depth = reader.CurrentDepth;
        while (reader.Read() && reader.CurrentDepth > depth)
        {
            isNothing &= reader.TokenType switch
            {
                JsonTokenType.Null or JsonTokenType.False or JsonTokenType.PropertyName
                    or JsonTokenType.StartArray or JsonTokenType.StartObject or JsonTokenType.EndArray
                    or JsonTokenType.EndObject => true,
                _ => IsNothing(ref reader, orWord),
            };
        }

        return isNothing;
    }

    /// <summary>What some language prints for nothing, and what gateways write for success.</summary>
    private static bool IsWordForNoError(ReadOnlySpan<byte> word) => word.Length switch
    {
        2 => Ascii.EqualsIgnoreCase(word, "ok"u8),
        4 => word.SequenceEqual("None"u8) || word.SequenceEqual("null"u8),
        7 => Ascii.EqualsIgnoreCase(word, "success"u8),
        9 => word.SequenceEqual("undefined"u8),
        _ => false,
    };
}
