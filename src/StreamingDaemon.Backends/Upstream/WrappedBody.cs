using System.Buffers;
using System.Buffers.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// A whole body inside JSON. Gateways in front of AWS Lambda send what the function returned,
/// <c>{"statusCode":200,"body":"data: {…}\n\n…"}</c>, perhaps in base64; others encode the body as one
/// string.
/// </summary>
internal static class WrappedBody
{
    /// <summary>Opens a body that is JSON.</summary>
    /// <returns>The body inside, events or JSON; null if there is none.</returns>
    public static byte[]? TryOpen(ReadOnlySpan<byte> json)
    {
        try
        {
            var reader = new Utf8JsonReader(
                json.StartsWith("\ufeff"u8) ? json["\ufeff"u8.Length..] : json, JsonText.Options);
            reader.Read();
            if (reader.TokenType == JsonTokenType.String)
                return Open(ref reader, isEncoded: false);
            return reader.TokenType == JsonTokenType.StartObject ? OpenObject(reader) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Whether an opened body holds events; else it is JSON.</summary>
    public static bool HoldsEvents(ReadOnlySpan<byte> body) => body[0] is not ((byte)'{' or (byte)'[');

    private static byte[]? OpenObject(Utf8JsonReader reader)
    {
        Utf8JsonReader body = default;
        var isEncoded = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isBody = JsonText.Equals(ref reader, "body"u8);
            var isFlag = JsonText.Equals(ref reader, "isBase64Encoded"u8);
            reader.Read();
            if (isBody)
                body = reader;
            isEncoded |= isFlag && reader.TokenType == JsonTokenType.True;
            reader.Skip();
        }

        if (body.TokenType != JsonTokenType.String)
            return null;
        var opened = Open(ref body, isEncoded);
        // The reader of events opens JSON in strings itself, and sees the fields beside it.
        return isEncoded || (opened is not null && HoldsEvents(opened)) ? opened : null;
    }

    private static byte[]? Open(ref Utf8JsonReader reader, bool isEncoded)
    {
        var text = JsonText.Decode(reader.ValueSpan);
        if (isEncoded)
        {
            var bytes = new byte[Base64.GetMaxDecodedFromUtf8Length(text.Length)];
            if (Base64.DecodeFromUtf8(text, bytes, out _, out var length) != OperationStatus.Done)
                return null;
            text = bytes.AsSpan(0, length);
        }

        text = text.TrimStart(" \t\r\n"u8);
        var isKnown = text.StartsWith((byte)'{') || text.StartsWith((byte)':') || text.StartsWith("data:"u8)
            || text.StartsWith("event:"u8) || text.StartsWith("id:"u8) || text.StartsWith("retry:"u8);
        return isKnown ? text.ToArray() : null;
    }
}
