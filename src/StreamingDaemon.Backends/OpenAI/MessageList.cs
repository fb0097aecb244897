using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Reads a choice's <c>messages</c>, as Azure's first API for a site's own data has them: each is a message,
/// or has a delta. What its search found comes first, as a tool's message.
/// </summary>
internal static class MessageList
{
    /// <param name="parts">Takes what is found.</param>
    /// <param name="reader">At the value.</param>
    /// <param name="hasDelta">Set if one has a delta.</param>
    /// <returns>True if one carries an error.</returns>
    public static bool Read(ref AnswerParts parts, ref Utf8JsonReader reader, ref bool hasDelta)
    {
        var isError = false;
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            reader.Skip();
            return isError;
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            var end = reader;
            end.Skip();
            if (reader.TokenType == JsonTokenType.StartObject && TryFind(ref reader, out var isDelta))
            {
                hasDelta |= isDelta;
                isError |= MessageReader.Read(ref parts, ref reader, isDelta);
            }

            reader = end;
        }

        return isError;
    }

    /// <summary>Puts the reader at the message or delta.</summary>
    /// <returns>False if it is a tool's, or only marks the end.</returns>
    private static bool TryFind(ref Utf8JsonReader reader, out bool isDelta)
    {
        isDelta = false;
        var look = reader;
        while (look.Read() && look.TokenType == JsonTokenType.PropertyName)
        {
            isDelta = JsonText.Equals(ref look, "delta"u8);
            look.Read();
            if (isDelta)
            {
                reader = look;
                break;
            }

            look.Skip();
        }

        look = reader;
        while (look.Read() && look.TokenType == JsonTokenType.PropertyName)
        {
            var isRole = JsonText.Equals(ref look, "role"u8);
            var isContent = JsonText.Equals(ref look, "content"u8);
            look.Read();
            if ((isRole && JsonValue.Is(ref look, "tool"u8))
                || (isContent && JsonValue.Is(ref look, "[DONE]"u8)))
            {
                return false;
            }

            look.Skip();
        }

        return true;
    }
}
