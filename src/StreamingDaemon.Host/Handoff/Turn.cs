using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>What a turn (one message) is, as far as the turns beside it depend on it.</summary>
internal enum TurnKind : byte
{
    /// <summary>The user's, or of a role that the daemon does not know.</summary>
    Other,

    /// <summary>Neither an object nor a text: it may have been anything.</summary>
    Unreadable,

    /// <summary>System or developer.</summary>
    Instructions,

    /// <summary>The assistant's, without calls that can be read.</summary>
    Assistant,

    /// <summary>The assistant's, with calls of tools.</summary>
    ToolCalls,

    /// <summary>The result of a tool.</summary>
    ToolResult,
}

/// <summary>One element of <c>messages</c>.</summary>
/// <param name="Start">Where its JSON begins in the handoff data.</param>
/// <param name="End">Where its JSON ends there.</param>
/// <param name="Kind">What the turns beside it depend on.</param>
/// <param name="IsSound">False if <see cref="MessageWriter"/> has to rewrite it: it has no role, is only a
/// text, or holds something in a form that servers refuse.</param>
/// <param name="IsSendable">True if it says something: a text, a list of parts, calls of tools, a refusal, or
/// audio. Then it is sent.</param>
internal readonly record struct Turn(int Start, int End, TurnKind Kind, bool IsSound, bool IsSendable)
{
    public ReadOnlySpan<byte> JsonIn(ReadOnlySpan<byte> data) => data[Start..End];

    /// <summary>Reads one element, to its last token.</summary>
    public static Turn Read(ref Utf8JsonReader reader)
    {
        var start = (int)reader.TokenStartIndex;
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            var isText = IsFilledText(reader);
            reader.Skip();
            return new Turn(start, (int)reader.BytesConsumed,
                isText ? TurnKind.Other : TurnKind.Unreadable, !isText, isText);
        }

        var kind = TurnKind.Other;
        Utf8JsonReader content = default;
        bool namesRole = false, hasContent = false, calls = false, saysElse = false, isOdd = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            // Duplicates: the last one wins.
            if (JsonText.Equals(ref reader, "content"u8))
            {
                reader.Read();
                content = reader;
                hasContent = HasContent(ref reader, ref isOdd);
                continue;
            }

            if (JsonText.Equals(ref reader, "role"u8))
                namesRole = ReadRole(ref reader, out kind);
            else if (JsonText.Equals(ref reader, "tool_calls"u8))
                calls |= ReadCalls(ref reader, ref isOdd);
            else if (MessageWriter.IsNullRefused(ref reader))
                isOdd |= IsNull(ref reader);
            else if (JsonText.Equals(ref reader, "function_call"u8))
                calls |= reader.Read() && ToolCallRepair.IsFunctionCall(ref reader, ref isOdd);
            else if (JsonText.Equals(ref reader, "audio"u8))
                saysElse |= IsObject(ref reader);
            else if (JsonText.Equals(ref reader, "refusal"u8))
                saysElse |= IsText(ref reader);
            else
                reader.Skip();
        }

        if (kind == TurnKind.Assistant && calls)
            kind = TurnKind.ToolCalls;
        if (kind == TurnKind.ToolResult && ToolResult.IsData(content))
            hasContent = isOdd = true;
        var isSendable = hasContent || kind == TurnKind.ToolCalls
            || (kind == TurnKind.Assistant && saysElse);
        return new Turn(start, (int)reader.BytesConsumed, kind, namesRole && !isOdd, isSendable);
    }

    private static bool ReadRole(ref Utf8JsonReader reader, out TurnKind kind)
    {
        reader.Read();
        kind = TurnKind.Other;
        if (reader.TokenType != JsonTokenType.String)
        {
            reader.Skip();
            return false;
        }

        var role = JsonText.Read(ref reader);
        kind = role switch
        {
            "system" or "developer" => TurnKind.Instructions,
            "assistant" => TurnKind.Assistant,
            "tool" or "function" => TurnKind.ToolResult,
            _ => TurnKind.Other,
        };
        return role.Length > 0;
    }

    /// <summary>True for a text, also an empty one, and for parts. A number is a text that PHP's
    /// <c>JSON_NUMERIC_CHECK</c> changed.</summary>
    private static bool HasContent(ref Utf8JsonReader reader, ref bool isOdd)
    {
        isOdd |= reader.TokenType == JsonTokenType.Number;
        return reader.TokenType is JsonTokenType.String or JsonTokenType.Number
            || ContentParts.Says(ref reader, ref isOdd);
    }

    /// <summary>Servers refuse an empty list of calls.</summary>
    private static bool ReadCalls(ref Utf8JsonReader reader, ref bool isOdd)
    {
        reader.Read();
        var has = ToolCallRepair.HasCall(ref reader, ref isOdd);
        isOdd |= !has;
        return has;
    }

    /// <summary>Whether the value is a string that is not empty, or a number that was one.</summary>
    /// <param name="reader">At the value; a copy.</param>
    internal static bool IsFilledText(Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Number
        || (reader.TokenType == JsonTokenType.String && reader.ValueSpan.Length > 0);

    private static bool IsNull(ref Utf8JsonReader reader)
    {
        reader.Read();
        var isNull = reader.TokenType == JsonTokenType.Null;
        reader.Skip();
        return isNull;
    }

    private static bool IsObject(ref Utf8JsonReader reader)
    {
        reader.Read();
        var isObject = reader.TokenType == JsonTokenType.StartObject;
        reader.Skip();
        return isObject;
    }

    private static bool IsText(ref Utf8JsonReader reader)
    {
        reader.Read();
        var isText = reader.TokenType == JsonTokenType.String && reader.ValueSpan.Length > 0;
        reader.Skip();
        return isText;
    }
}
