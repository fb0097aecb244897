using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

// The conversation: an array of messages, whose content is a text or an array of parts.
internal static partial class HandoffRequestReader
{
    private static List<ChatTurn> ReadMessages(ref Utf8JsonReader reader, HandoffRequest request)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            if (reader.TokenType != JsonTokenType.Null)
                request.NoteUnusable("messages");
            reader.Skip();
            return [];
        }

        var messages = new List<ChatTurn>();
        for (var i = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; i++)
        {
            var isWhole = false;
            if (reader.TokenType != JsonTokenType.StartObject)
                reader.Skip();
            else if (ReadMessage(ref reader, out isWhole) is { } message)
                messages.Add(message);
            if (!isWhole && request.Unusable.Count < MostNoted)
                request.NoteUnusable($"messages[{i}]");
        }

        return messages;
    }

    private static ChatTurn? ReadMessage(ref Utf8JsonReader reader, out bool isWhole)
    {
        string? role = null, content = null;
        isWhole = true;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "role"u8))
                role = ReadString(ref reader);
            else if (JsonText.Equals(ref reader, "content"u8))
                content = ReadContent(ref reader, out isWhole);
            else
                reader.Skip();
        }

        isWhole &= content is not null;
        return content is null ? null : new ChatTurn(string.IsNullOrEmpty(role) ? "user" : role, content);
    }

    /// <summary>Reads a string, or the texts of an array of parts. Parts without text (images) are skipped.
    /// </summary>
    private static string? ReadContent(ref Utf8JsonReader reader, out bool isWhole)
    {
        reader.Read();
        isWhole = true;
        if (reader.TokenType == JsonTokenType.String)
            return JsonText.Read(ref reader);
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            reader.Skip();
            return null;
        }

        var texts = new List<string>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            string? text = null;
            if (reader.TokenType == JsonTokenType.StartObject)
            {
                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    if (JsonText.Equals(ref reader, "text"u8))
                        text = ReadString(ref reader);
                    else
                        reader.Skip();
                }
            }
            else
            {
                reader.Skip();
            }

            if (text is not null)
                texts.Add(text);
            isWhole &= text is not null;
        }

        return texts.Count == 0 ? null : string.Join("\n", texts);
    }
}
