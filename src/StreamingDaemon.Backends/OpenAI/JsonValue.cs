using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>What the JSON value is that the reader is at.</summary>
internal static class JsonValue
{
    /// <summary>True for null, false, 0, "", and arrays and objects of nothing else: servers send them for
    /// a field that is absent. Reads to the value's end.</summary>
    public static bool IsNothing(ref Utf8JsonReader reader)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.Null or JsonTokenType.False:
                return true;
            case JsonTokenType.String:
                return reader.ValueSpan.IsEmpty;
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
                _ => IsNothing(ref reader),
            };
        }

        return isNothing;
    }

    /// <summary>True if the value of a field for errors says that there is none: <see cref="IsNothing"/>, or
    /// a word that some language prints for nothing. Reads to the value's end.</summary>
    public static bool IsNoError(ref Utf8JsonReader reader) =>
        Is(ref reader, "None"u8) || Is(ref reader, "null"u8) || Is(ref reader, "undefined"u8)
        || IsNothing(ref reader);

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
}
