using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// The content of a message that is neither a text nor a tool's data. Servers take a list of parts, each an
/// object with a type. PHP applications also send one part without a list, texts in place of parts, parts
/// without a type, and an image's address as a string: these are rewritten as servers take them.
/// </summary>
internal static class ContentParts
{
    /// <summary>Whether a content holds something that can be sent.</summary>
    /// <param name="reader">At the content; then at its last token.</param>
    /// <param name="isOdd">Set if servers would refuse its form.</param>
    public static bool Says(ref Utf8JsonReader reader, ref bool isOdd)
    {
        if (reader.TokenType != JsonTokenType.StartArray && !PhpArrays.IsList(reader))
        {
            var isPart = FormOf(ref reader) is not (PartForm.None or PartForm.Unknown or PartForm.Foreign);
            isOdd |= isPart;
            return isPart;
        }

        isOdd |= reader.TokenType == JsonTokenType.StartObject;
        var says = false;
        while (PhpArrays.ReadItem(ref reader))
        {
            var form = FormOf(ref reader);
            says |= form is not (PartForm.None or PartForm.Foreign);
            isOdd |= form is not (PartForm.Sound or PartForm.Unknown or PartForm.Foreign);
        }

        return says;
    }

    /// <summary>Writes a content as the list of its parts; a text, a number and null as they are.</summary>
    public static void Write(ReadOnlySpan<byte> content, IBufferWriter<byte> output)
    {
        var reader = new Utf8JsonReader(content, HandoffRequestReader.Options);
        reader.Read();
        if (reader.TokenType is not (JsonTokenType.StartArray or JsonTokenType.StartObject))
        {
            output.Write(content);
            return;
        }

        var separator = "["u8;
        if (reader.TokenType == JsonTokenType.StartObject && !PhpArrays.IsList(reader))
        {
            WritePart(ref reader, content, ref separator, output);
        }
        else
        {
            while (PhpArrays.ReadItem(ref reader))
                WritePart(ref reader, content, ref separator, output);
        }

        output.Write(separator.SequenceEqual("["u8) ? "[]"u8 : "]"u8);
    }

    private static void WritePart(ref Utf8JsonReader reader, ReadOnlySpan<byte> content,
        ref ReadOnlySpan<byte> separator, IBufferWriter<byte> output)
    {
        var look = reader;
        var form = FormOf(ref look);
        var isNumber = reader.TokenType == JsonTokenType.Number;
        var json = JsonText.Skip(ref reader, content);
        if (form == PartForm.None)
            return;
        output.Write(separator);
        separator = ","u8;
        switch (form)
        {
            case PartForm.Text:
                output.Write("{\"type\":\"text\",\"text\":"u8);
                output.Write(isNumber ? "\""u8 : default);
                output.Write(json);
                output.Write(isNumber ? "\"}"u8 : "}"u8);
                break;
            case PartForm.TextWithoutType:
                output.Write("{\"type\":\"text\","u8);
                WriteMembers(json, output);
                break;
            case PartForm.ImageWithoutType:
                output.Write("{\"type\":\"image_url\","u8);
                WriteMembers(json, output);
                break;
            case PartForm.ImageAddress:
                output.Write("{"u8);
                WriteMembers(json, output);
                break;
            default:
                output.Write(json);
                break;
        }
    }

    /// <summary>Writes the members of a part, and its end. An image's address is put into an object, and a
    /// type that is not a string is left out.</summary>
    private static void WriteMembers(ReadOnlySpan<byte> part, IBufferWriter<byte> output)
    {
        var reader = new Utf8JsonReader(part, HandoffRequestReader.Options);
        reader.Read();
        var separator = default(ReadOnlySpan<byte>);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var start = (int)reader.TokenStartIndex;
            var isImage = JsonText.Equals(ref reader, "image_url"u8);
            var isType = JsonText.Equals(ref reader, "type"u8);
            reader.Read();
            var (value, token) = ((int)reader.TokenStartIndex, reader.TokenType);
            var json = JsonText.Skip(ref reader, part);
            if (isType && token != JsonTokenType.String)
                continue;
            var isAddress = isImage && token == JsonTokenType.String;
            output.Write(separator);
            separator = ","u8;
            output.Write(part[start..value]);
            output.Write(isAddress ? "{\"url\":"u8 : default);
            output.Write(json);
            output.Write(isAddress ? "}"u8 : default);
        }

        output.Write("}"u8);
    }

    /// <summary>How a part is written.</summary>
    /// <param name="reader">At the part; then at its last token.</param>
    private static PartForm FormOf(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Number)
            return PartForm.Text;
        if (reader.TokenType == JsonTokenType.String)
            return reader.ValueSpan.Length > 0 ? PartForm.Text : PartForm.None;
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            var isNull = reader.TokenType == JsonTokenType.Null;
            reader.Skip();
            return isNull ? PartForm.None : PartForm.Foreign;
        }

        bool hasType = false, hasText = false, hasImage = false, isAddress = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isType = JsonText.Equals(ref reader, "type"u8);
            var isText = JsonText.Equals(ref reader, "text"u8);
            var isImage = JsonText.Equals(ref reader, "image_url"u8);
            reader.Read();
            var isString = reader.TokenType == JsonTokenType.String;
            hasType |= isType && isString;
            hasText |= isText && isString;
            isAddress |= isImage && isString;
            hasImage |= isImage && (isString || reader.TokenType == JsonTokenType.StartObject);
            reader.Skip();
        }

        return hasType ? (isAddress ? PartForm.ImageAddress : PartForm.Sound)
            : hasText == hasImage ? PartForm.Unknown
            : hasText ? PartForm.TextWithoutType
            : PartForm.ImageWithoutType;
    }

    private enum PartForm : byte
    {
        /// <summary>Nothing that could be sent.</summary>
        None,

        /// <summary>A list or a truth value. It is sent as it is: the server refuses it, and nothing in it
        /// vanishes.</summary>
        Foreign,

        /// <summary>An object with a type.</summary>
        Sound,

        /// <summary>An object without a type, which only the server may know.</summary>
        Unknown,

        /// <summary>A text, or the number that <c>JSON_NUMERIC_CHECK</c> made of it.</summary>
        Text,

        /// <summary>An object with a text, but without a type.</summary>
        TextWithoutType,

        /// <summary>An object with an image, but without a type.</summary>
        ImageWithoutType,

        /// <summary>An image whose address is a string, not an object with the string.</summary>
        ImageAddress,
    }
}
