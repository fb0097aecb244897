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

    /// <summary>True if the value is an object with a code that names an error, as MiniMax has it:
    /// <c>{"status_code":1004,"status_msg":…}</c>; 0 is success.</summary>
    public static bool HasErrorCode(ref Utf8JsonReader reader, ReadOnlySpan<byte> name)
    {
        var isError = false;
        if (reader.TokenType != JsonTokenType.StartObject)
            return isError;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isCode = JsonText.Equals(ref reader, name);
            reader.Read();
            if (isCode)
                isError |= !IsNoError(ref reader);
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
                return reader.TryGetDouble(out var number) && (number == 0 || (orWord && number == 200));
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
    private static bool IsWordForNoError(ReadOnlySpan<byte> word)
    {
        word = word.Trim((byte)' ');
        return !word.ContainsAnyExcept((byte)'0') || word.Length switch
        {
            2 => Ascii.EqualsIgnoreCase(word, "ok"u8) || Ascii.EqualsIgnoreCase(word, "no"u8),
            3 => Ascii.EqualsIgnoreCase(word, "nil"u8) || Ascii.EqualsIgnoreCase(word, "n/a"u8)
                || word.SequenceEqual("200"u8),
            4 => Ascii.EqualsIgnoreCase(word, "none"u8) || Ascii.EqualsIgnoreCase(word, "null"u8),
            5 => Ascii.EqualsIgnoreCase(word, "false"u8),
            7 => Ascii.EqualsIgnoreCase(word, "success"u8) || Ascii.EqualsIgnoreCase(word, "noerror"u8),
            8 => Ascii.EqualsIgnoreCase(word[..2], "no"u8) && Ascii.EqualsIgnoreCase(word[3..], "error"u8),
            9 => word.SequenceEqual("undefined"u8),
            _ => false,
        };
    }
}
