using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Reads a choice's <c>delta</c> or <c>message</c>: content as a string or as parts, refusals, transcripts,
/// reasoning.
/// </summary>
internal static class MessageReader
{
    /// <summary>Reads a delta or a message. The reader is at its value, and ends after it.</summary>
    /// <param name="parts">Takes what is found.</param>
    /// <param name="reader">At the value.</param>
    /// <param name="isDelta">False for a message.</param>
    /// <returns>True if it carries an error.</returns>
    public static bool Read(ref AnswerParts parts, ref Utf8JsonReader reader, bool isDelta = true)
    {
        if (reader.TokenType == JsonTokenType.String)
        {
            parts.AddText(ref reader);
            return false;
        }

        if (reader.TokenType != JsonTokenType.StartObject)
            return ReadList(ref parts, ref reader, isDelta);

        var (textBefore, reasoningBefore) = (parts.Text.Length, parts.Reasoning.Length);
        var (countBefore, hadAnswer) = (parts.Count, parts.HasAnswer);
        var (isError, sawText) = (false, false);
        parts.IsThought = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (parts.IsChunks)
                ReadForChunks(ref parts, ref reader, ref isError);
            else if (!sawText && JsonText.Equals(ref reader, "content"u8))
                ReadContent(ref parts, ref reader);
            else if (parts.Text.Length == textBefore && IsText(ref reader))
                sawText = ReadText(ref parts, ref reader);
            else
                ReadOther(ref parts, ref reader, reasoningBefore, ref isError);
        }

        if (parts.IsThought)
            parts.MoveToReasoning(textBefore, hadAnswer);
        parts.SawDelta |= isDelta
            && (parts.IsChunks ? parts.Count > countBefore : parts.Text.Length > textBefore);
        return isError;
    }

    /// <summary>Several deltas of a choice.</summary>
    private static bool ReadList(ref AnswerParts parts, ref Utf8JsonReader reader, bool isDelta)
    {
        var (isList, isError) = (reader.TokenType == JsonTokenType.StartArray, false);
        while (isList && reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType == JsonTokenType.StartObject)
                isError |= Read(ref parts, ref reader, isDelta);
            else
                reader.Skip();
        }

        reader.Skip();
        return isError;
    }

    /// <summary>A client that gets the chunks themselves can show whatever is in them.</summary>
    private static void ReadForChunks(ref AnswerParts parts, ref Utf8JsonReader reader, ref bool isError)
    {
        var isRole = JsonText.Equals(ref reader, "role"u8);
        var isErrorField = JsonText.Equals(ref reader, "error"u8);
        var isContent = JsonText.Equals(ref reader, "content"u8);
        if (TryReadFinish(ref parts, ref reader))
            return;
        reader.Read();
        if (isRole)
        {
            reader.Skip();
        }
        else if (isErrorField)
        {
            isError |= !JsonValue.IsNoError(ref reader);
        }
        else if ((isContent && reader.TokenType == JsonTokenType.Number) || !JsonValue.IsNothing(ref reader))
        {
            // A 0 is a token, if it is the content.
            parts.Hold(AnswerParts.Held.Other);
        }
    }

    private static bool IsText(ref Utf8JsonReader reader) =>
        JsonText.Equals(ref reader, "text"u8) || JsonText.Equals(ref reader, "output_text"u8)
        || JsonText.Equals(ref reader, "message"u8) || JsonText.Equals(ref reader, "response"u8)
        || JsonText.Equals(ref reader, "delta"u8);

    /// <summary>The field <c>text</c> of a delta: Snowflake has it beside <c>content</c>, with the same text.
    /// Gateways have a whole <c>message</c> there.</summary>
    /// <returns>True if there is any.</returns>
    private static bool ReadText(ref AnswerParts parts, ref Utf8JsonReader reader)
    {
        var before = parts.Text.Length;
        ReadContent(ref parts, ref reader);
        return parts.Text.Length > before;
    }

    private static void ReadContent(ref AnswerParts parts, ref Utf8JsonReader reader)
    {
        reader.Read();
        // Some gateways write a token of digits as a number.
        if (reader.TokenType is JsonTokenType.String or JsonTokenType.Number)
            parts.AddText(ref reader);
        else
            ReadParts(ref parts, ref reader, isReasoning: false);
    }

    /// <summary>Any field but <c>content</c>. Servers that send reasoning under two names send it twice: only
    /// the first of a delta counts.</summary>
    private static void ReadOther(
        ref AnswerParts parts, ref Utf8JsonReader reader, int reasoningBefore, ref bool isError)
    {
        if (JsonText.Equals(ref reader, "refusal"u8))
        {
            ReadContent(ref parts, ref reader);
        }
        else if (ReasoningNames.Contain(ref reader))
        {
            reader.Read();
            if (parts.Reasoning.Length > reasoningBefore)
                reader.Skip();
            else
                ReadReasoning(ref parts, ref reader);
        }
        else if (JsonText.Equals(ref reader, "tool_calls"u8)
            || JsonText.Equals(ref reader, "function_call"u8))
        {
            reader.Read();
            Hold(ref parts, ref reader, AnswerParts.Held.ToolCalls);
        }
        else if (JsonText.Equals(ref reader, "audio"u8))
        {
            reader.Read();
            ReadAudio(ref parts, ref reader);
        }
        else if (JsonText.Equals(ref reader, "extra_content"u8))
        {
            reader.Read();
            parts.IsThought |= GeminiThought.IsThought(ref reader, depth: 0);
        }
        else if (JsonText.Equals(ref reader, "images"u8))
        {
            reader.Read();
            Hold(ref parts, ref reader, AnswerParts.Held.Other);
        }
        else if (SignWords.IsErrorName(ref reader))
        {
            reader.Read();
            isError |= !JsonValue.IsNoError(ref reader);
        }
        else if (!TryReadFinish(ref parts, ref reader) && parts.Usage?.TryReadField(ref reader) != true)
        {
            reader.Skip();
        }
    }

    private static bool TryReadFinish(ref AnswerParts parts, ref Utf8JsonReader reader)
    {
        if (reader.ValueSpan.Length is not (11 or 13)
            || (!JsonText.Equals(ref reader, "finish_reason"u8)
                && !JsonText.Equals(ref reader, "stop_reason"u8)))
        {
            return false;
        }

        reader.Read();
        parts.InnerFinish = FinishReasons.Read(ref reader) ?? parts.InnerFinish;
        return true;
    }

    private static void Hold(ref AnswerParts parts, ref Utf8JsonReader reader, AnswerParts.Held what)
    {
        if (!JsonValue.IsNothing(ref reader))
            parts.Hold(what);
    }

    private static void ReadReasoning(ref AnswerParts parts, ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.String)
            parts.AddReasoning(ref reader);
        else
            ReadParts(ref parts, ref reader, isReasoning: true);
    }

    /// <summary>A part, or an array of parts; a part may be a string.</summary>
    private static void ReadParts(ref AnswerParts parts, ref Utf8JsonReader reader, bool isReasoning)
    {
        // Parts are looked at twice, and read by a call for each level.
        const int DeepestPart = 64;
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject or JsonTokenType.StartArray when reader.CurrentDepth > DeepestPart:
                reader.Skip();
                break;
            case JsonTokenType.StartObject when PlainChunk.IsNumbered(reader):
                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName && reader.Read())
                    ReadParts(ref parts, ref reader, isReasoning);
                break;
            case JsonTokenType.StartObject:
                ReadPart(ref parts, ref reader, isReasoning);
                break;
            case JsonTokenType.String when isReasoning:
                ReadReasoning(ref parts, ref reader);
                break;
            case JsonTokenType.String or JsonTokenType.Number when !isReasoning:
                parts.AddText(ref reader);
                break;
            case JsonTokenType.StartArray:
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                    ReadParts(ref parts, ref reader, isReasoning);
                break;
        }
    }

    private static void ReadPart(ref AnswerParts parts, ref Utf8JsonReader reader, bool isReasoning)
    {
        // The type may come last.
        var look = reader;
        var isText = true;
        while (look.Read() && look.TokenType == JsonTokenType.PropertyName)
        {
            var isType = JsonText.Equals(ref look, "type"u8);
            var isThought = JsonText.Equals(ref look, "thought"u8);
            look.Read();
            isReasoning |= isThought && look.TokenType == JsonTokenType.True;
            if (isType && look.TokenType == JsonTokenType.String)
            {
                isReasoning |= Contains(ref look, "thinking"u8) || Contains(ref look, "reasoning"u8);
                isText = Contains(ref look, "text"u8) || Contains(ref look, "refusal"u8);
            }

            look.Skip();
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            ReadPartField(ref parts, ref reader, isText || isReasoning, isReasoning);
    }

    private static void ReadPartField(
        ref AnswerParts parts, ref Utf8JsonReader reader, bool isShown, bool isReasoning)
    {
        var isText = isShown && (JsonText.Equals(ref reader, "text"u8)
            || JsonText.Equals(ref reader, "refusal"u8) || JsonText.Equals(ref reader, "content"u8)
            || JsonText.Equals(ref reader, "parts"u8)
            || (isReasoning && (ReasoningNames.Contain(ref reader)
                || JsonText.Equals(ref reader, "summary"u8))));
        // {"text":{"value":"…"}}, as assistants have it.
        isText |= isShown && JsonText.Equals(ref reader, "value"u8);
        reader.Read();
        if (isText)
            ReadParts(ref parts, ref reader, isReasoning);
        else
            reader.Skip();
    }

    /// <summary>Spoken answers have their words beside the sound.</summary>
    private static void ReadAudio(ref AnswerParts parts, ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isTranscript = JsonText.Equals(ref reader, "transcript"u8);
            reader.Read();
            if (isTranscript)
            {
                parts.AddText(ref reader);
            }
            else
            {
                Hold(ref parts, ref reader, AnswerParts.Held.Other);
            }
        }
    }

    private static bool Contains(ref Utf8JsonReader reader, ReadOnlySpan<byte> word) =>
        reader.ValueSpan.IndexOf(word) >= 0;
}
