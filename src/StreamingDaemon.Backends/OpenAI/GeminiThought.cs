using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Gemini's mark of a thought in its compatible API.</summary>
internal static class GeminiThought
{
    /// <summary>Gemini: <c>{"google":{"thought":true}}</c> beside content that is a thought.</summary>
    public static bool IsThought(ref Utf8JsonReader reader, int depth)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return false;
        }

        var isThought = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isGoogle = depth == 0 && JsonText.Equals(ref reader, "google"u8);
            var isMark = depth == 1 && JsonText.Equals(ref reader, "thought"u8);
            reader.Read();
            if (isGoogle)
            {
                isThought |= IsThought(ref reader, depth + 1);
                continue;
            }

            isThought |= isMark && reader.TokenType == JsonTokenType.True;
            reader.Skip();
        }

        return isThought;
    }
}
