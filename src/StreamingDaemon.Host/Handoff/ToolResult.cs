using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>The content of a tool's result. Servers take a text or a list of parts. PHP applications also
/// send the data itself: <c>{"degrees":20}</c>, rows of a database, <c>false</c>. That becomes its JSON as a
/// text, which is what a model reads.</summary>
internal static class ToolResult
{
    /// <summary>Whether a content is data, neither a text nor parts.</summary>
    /// <param name="reader">At the content; a copy, which may end anywhere.</param>
    public static bool IsData(Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.True or JsonTokenType.False => true,
        JsonTokenType.StartObject or JsonTokenType.StartArray => !HasParts(reader),
        _ => false,
    };

    /// <summary>Writes data as a text.</summary>
    public static void Write(ReadOnlySpan<byte> data, IBufferWriter<byte> output) =>
        EncodedText.Write(data, output);

    private static bool HasParts(Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.StartObject && !PhpArrays.IsList(reader))
            return false;
        var has = false;
        for (; PhpArrays.ReadItem(ref reader); has = true)
        {
            if (reader.TokenType != JsonTokenType.StartObject || !HasType(reader))
                return false;
            reader.Skip();
        }

        return has;
    }

    private static bool HasType(Utf8JsonReader part)
    {
        while (part.Read() && part.TokenType == JsonTokenType.PropertyName)
        {
            var isType = JsonText.Equals(ref part, "type"u8);
            part.Read();
            if (isType && part.TokenType == JsonTokenType.String)
                return true;
            part.Skip();
        }

        return false;
    }
}
