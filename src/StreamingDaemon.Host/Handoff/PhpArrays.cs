using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// PHP has one type for lists and objects. Its JSON of a list whose keys have gaps (<c>array_filter</c>,
/// <c>unset</c>) is an object: <c>{"0":…,"2":…}</c>. Its JSON of an object without members is <c>[]</c>.
/// </summary>
internal static class PhpArrays
{
    /// <summary>Whether all names are integers, of an object with members.</summary>
    /// <param name="reader">At the object's start; a copy, which may end anywhere.</param>
    public static bool IsList(Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            return false;
        var count = 0;
        for (; reader.Read() && reader.TokenType == JsonTokenType.PropertyName; count++)
        {
            if (!IsIndex(ref reader))
                return false;
            reader.Skip();
        }

        return count > 0;
    }

    /// <summary>Whether the current name is an integer.</summary>
    public static bool IsIndex(ref Utf8JsonReader reader)
    {
        var name = reader.ValueSpan;
        if (name is [(byte)'-', _, ..])
            name = name[1..];
        return name.Length is > 0 and < 20 && !name.ContainsAnyExceptInRange((byte)'0', (byte)'9');
    }

    /// <summary>The first item of an array, or of an object that is a list.</summary>
    /// <returns>False if there is none; the reader is then at the end of the value.</returns>
    public static bool ReadItem(ref Utf8JsonReader reader)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.PropertyName)
            reader.Read();
        return reader.TokenType is not (JsonTokenType.EndArray or JsonTokenType.EndObject);
    }

    /// <summary>Writes the values of a list as an array, in their order.</summary>
    public static void WriteArray(ReadOnlySpan<byte> list, IBufferWriter<byte> output)
    {
        var reader = new Utf8JsonReader(list, HandoffRequestReader.Options);
        reader.Read();
        var separator = "["u8;
        for (; ReadItem(ref reader); separator = ","u8)
        {
            output.Write(separator);
            output.Write(JsonText.Skip(ref reader, list));
        }

        output.Write("]"u8);
    }

    /// <summary>The list as an array; anything else as it is.</summary>
    public static ReadOnlySpan<byte> AsArray(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, HandoffRequestReader.Options);
        reader.Read();
        if (!IsList(reader))
            return json;
        var output = new ArrayBufferWriter<byte>();
        WriteArray(json, output);
        return output.WrittenSpan;
    }
}
