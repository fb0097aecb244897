using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Rewrites a message whose form servers would refuse. A message without a role becomes the user's,
/// and so does a text in place of a message. Lists become arrays (<see cref="PhpArrays"/>), a number becomes
/// the text it was, a tool's data becomes its JSON (<see cref="ToolResult"/>), and an empty field counts as
/// absent.</summary>
internal static class MessageWriter
{
    /// <summary>Whether the current name is of a field that servers accept as absent, but not as null.
    /// </summary>
    public static bool IsNullRefused(ref Utf8JsonReader reader) => JsonText.Equals(ref reader, "name"u8)
        || JsonText.Equals(ref reader, "tool_call_id"u8);

    /// <param name="message">The message's object, or a text.</param>
    /// <param name="output">Gets the message.</param>
    public static void Write(ReadOnlySpan<byte> message, IBufferWriter<byte> output)
    {
        if (message[0] != (byte)'{')
        {
            output.Write("{\"role\":\"user\",\"content\":"u8);
            WriteText(message, output);
            output.Write("}"u8);
            return;
        }

        var reader = new Utf8JsonReader(message, HandoffRequestReader.Options);
        output.Write("{\"role\":"u8);
        var role = RoleOf(reader, message);
        var isToolResult = role.SequenceEqual("\"tool\""u8) || role.SequenceEqual("\"function\""u8);
        output.Write(role);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var start = (int)reader.TokenStartIndex;
            var isContent = JsonText.Equals(ref reader, "content"u8);
            var isCalls = JsonText.Equals(ref reader, "tool_calls"u8);
            var isCall = JsonText.Equals(ref reader, "function_call"u8);
            var isLeftOut = JsonText.Equals(ref reader, "role"u8);
            var isNullRefused = IsNullRefused(ref reader);
            reader.Read();
            var value = (int)reader.TokenStartIndex;
            var token = reader.TokenType;
            var isData = isContent && isToolResult && ToolResult.IsData(reader);
            var json = JsonText.Skip(ref reader, message);
            isLeftOut |= (isNullRefused && token == JsonTokenType.Null) || (isCalls && !HasCall(json));
            if (isLeftOut)
                continue;
            output.Write(","u8);
            output.Write(message[start..value]);
            if (isData)
                ToolResult.Write(json, output);
            else if (isContent && token == JsonTokenType.Number)
                WriteText(json, output);
            else if (isContent)
                ContentParts.Write(json, output);
            else if (isCalls || isCall)
                ToolCallRepair.Write(json, isFunctionCall: isCall, output);
            else
                output.Write(json);
        }

        output.Write("}"u8);
    }

    /// <summary>The last role, as JSON.</summary>
    private static ReadOnlySpan<byte> RoleOf(Utf8JsonReader reader, ReadOnlySpan<byte> message)
    {
        var role = "\"user\""u8;
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isRole = JsonText.Equals(ref reader, "role"u8);
            reader.Read();
            var start = (int)reader.TokenStartIndex;
            var isText = reader.TokenType == JsonTokenType.String && reader.ValueSpan.Length > 0;
            reader.Skip();
            if (isRole)
                role = isText ? message[start..(int)reader.BytesConsumed] : "\"user\""u8;
        }

        return role;
    }

    private static void WriteText(ReadOnlySpan<byte> json, IBufferWriter<byte> output)
    {
        var quote = json[0] == (byte)'"' ? default : "\""u8;
        output.Write(quote);
        output.Write(json);
        output.Write(quote);
    }

    private static bool HasCall(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, HandoffRequestReader.Options);
        reader.Read();
        var isOdd = false;
        return ToolCallRepair.HasCall(ref reader, ref isOdd);
    }
}
