using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>The list of <c>tools</c> or <c>functions</c>. PHP applications also send one tool without a list,
/// or an object with the tools by name: <c>{"weather":{"type":"function",…}}</c>.</summary>
internal static class ToolDefinitions
{
    /// <summary>The definitions as an array; any other value as it is.</summary>
    public static ReadOnlySpan<byte> AsArray(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, HandoffRequestReader.Options);
        reader.Read();
        // SchemaRepair takes care of a list whose keys have gaps.
        if (reader.TokenType != JsonTokenType.StartObject || PhpArrays.IsList(reader))
            return json;
        if (IsDefinition(reader))
            return (byte[])[(byte)'[', .. json, (byte)']'];
        if (!HoldsDefinitions(reader))
            return json;
        var output = new ArrayBufferWriter<byte>(json.Length);
        PhpArrays.WriteArray(json, output);
        return output.WrittenSpan;
    }

    private static bool HoldsDefinitions(Utf8JsonReader reader)
    {
        var count = 0;
        for (; reader.Read() && reader.TokenType == JsonTokenType.PropertyName; count++)
        {
            reader.Read();
            if (!IsDefinition(reader))
                return false;
            reader.Skip();
        }

        return count > 0;
    }

    /// <summary>Whether an object has a tool's type, or a function's name.</summary>
    private static bool IsDefinition(Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            return false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isNamed = JsonText.Equals(ref reader, "type"u8) || JsonText.Equals(ref reader, "name"u8);
            var isFunction = JsonText.Equals(ref reader, "function"u8);
            reader.Read();
            if (isNamed && reader.TokenType == JsonTokenType.String)
                return true;
            // A tool may also be named "function": then its object has a type itself.
            if (isFunction && reader.TokenType == JsonTokenType.StartObject && !HasType(reader))
                return true;
            reader.Skip();
        }

        return false;
    }

    private static bool HasType(Utf8JsonReader reader)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "type"u8))
                return true;
            reader.Skip();
        }

        return false;
    }
}
