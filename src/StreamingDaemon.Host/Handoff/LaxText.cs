using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// A field that should be a text. PHP applications also send a list of texts, a whole message, or text parts
/// (<c>{"type":"text","text":…}</c>), which Anthropic's API takes for <c>system</c>.
/// </summary>
internal static class LaxText
{
    private const string Separator = "\n\n";

    /// <summary>Reads a value as a text; null if it is null, or not a text.</summary>
    /// <param name="reader">At the value; then at its last token.</param>
    /// <param name="role">Whose text it is. A message of another role is not a text.</param>
    public static string? Read(ref Utf8JsonReader reader, ReadOnlySpan<byte> role)
    {
        if (reader.TokenType is not (JsonTokenType.StartArray or JsonTokenType.StartObject))
            return ReadScalar(ref reader);
        var text = ReadList(reader, role);
        reader.Skip();
        return text;
    }

    /// <summary>A number is a text that PHP's <c>JSON_NUMERIC_CHECK</c> changed.</summary>
    /// <param name="reader">At the value; then at its last token.</param>
    public static string? ReadScalar(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.String)
            return JsonText.Read(ref reader);
        if (reader.TokenType == JsonTokenType.Number)
            return Encoding.UTF8.GetString(reader.ValueSpan);
        reader.Skip();
        return null;
    }

    /// <summary>The texts of a list, with a blank line between them. Null if anything in it is no text: an
    /// image must not vanish from a prompt.</summary>
    private static string? ReadList(Utf8JsonReader reader, ReadOnlySpan<byte> role)
    {
        if (reader.TokenType == JsonTokenType.StartObject && !PhpArrays.IsList(reader))
            return ReadPart(reader, role);
        StringBuilder? all = null;
        while (PhpArrays.ReadItem(ref reader))
        {
            var text = reader.TokenType == JsonTokenType.StartObject
                ? ReadPart(reader, role)
                : ReadScalar(ref reader);
            if (text is null)
                return null;
            all = all is null ? new StringBuilder() : all.Append(Separator);
            all.Append(text);
            if (reader.TokenType == JsonTokenType.StartObject)
                reader.Skip();
        }

        return all?.ToString();
    }

    /// <summary>The text of a part, or of a message whose content is a text. Null if it holds more than a
    /// text, or has another role: neither an image nor a role must vanish.</summary>
    private static string? ReadPart(Utf8JsonReader reader, ReadOnlySpan<byte> role)
    {
        string? text = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "text"u8) || JsonText.Equals(ref reader, "content"u8))
            {
                reader.Read();
                text = ReadScalar(ref reader);
            }
            else if (!IsOfText(ref reader, role))
            {
                return null;
            }
        }

        return text;
    }

    /// <summary>Whether a member belongs to a text.</summary>
    /// <param name="reader">At the name; then at the last token of its value.</param>
    /// <param name="role">The only one that a message may have.</param>
    private static bool IsOfText(ref Utf8JsonReader reader, ReadOnlySpan<byte> role)
    {
        var isType = JsonText.Equals(ref reader, "type"u8);
        var isRole = JsonText.Equals(ref reader, "role"u8);
        var isOther = JsonText.Equals(ref reader, "cache_control"u8)
            || JsonText.Equals(ref reader, "annotations"u8);
        reader.Read();
        if (reader.TokenType == JsonTokenType.String && (isType || isRole))
        {
            return isRole ? JsonText.Equals(ref reader, role)
                : JsonText.Equals(ref reader, "text"u8) || JsonText.Equals(ref reader, "input_text"u8);
        }

        var isNull = reader.TokenType == JsonTokenType.Null;
        reader.Skip();
        return isOther || isNull;
    }
}
