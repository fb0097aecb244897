using System.Text.Json;

namespace StreamingDaemon.Backends.Mock;

/// <summary>The text of a conversation's last message.</summary>
internal static class LastText
{
    /// <returns>The content, or the texts of its parts; null if there is no text.</returns>
    public static string? Of(Conversation conversation)
    {
        // No limit of its own: the array was read once, under the handoff's limit.
        var reader = new Utf8JsonReader(
            conversation.Json.Span, new JsonReaderOptions { MaxDepth = int.MaxValue });
        reader.Read();
        string? text = null;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            text = OfMessage(ref reader);
        return text;
    }

    private static string? OfMessage(ref Utf8JsonReader reader)
    {
        string? text = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isContent = reader.ValueTextEquals("content"u8);
            reader.Read();
            if (isContent && reader.TokenType == JsonTokenType.String)
                text = reader.GetString();
            else if (isContent && reader.TokenType == JsonTokenType.StartArray)
                text = OfParts(ref reader);
            else
                reader.Skip();
        }

        return text;
    }

    private static string? OfParts(ref Utf8JsonReader reader)
    {
        string? text = null;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
            {
                reader.Skip();
                continue;
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isText = reader.ValueTextEquals("text"u8);
                reader.Read();
                if (isText && reader.TokenType == JsonTokenType.String)
                    text = text is null ? reader.GetString() : $"{text}\n{reader.GetString()}";
                else
                    reader.Skip();
            }
        }

        return text;
    }
}
