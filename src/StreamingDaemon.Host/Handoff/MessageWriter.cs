using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Writes a message anew that servers would refuse for a matter of form. Without a role it is the
/// user's. Lists become arrays (<see cref="PhpArrays"/>), a number becomes the text it was, a tool's data its
/// JSON (<see cref="ToolResult"/>), and an empty field counts as absent.</summary>
internal static class MessageWriter
{
    /// <summary>Whether the current name is of a field that servers accept as absent, but not as null.
    /// </summary>
    public static bool IsNullRefused(ref Utf8JsonReader reader) => JsonText.Equals(ref reader, "name"u8)
        || JsonText.Equals(ref reader, "tool_call_id"u8);

    /// <param name="message">The message's object.</param>
    /// <param name="output">Gets the message.</param>
    public static void Write(ReadOnlySpan<byte> message, IBufferWriter<byte> output)
    {
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
            var isLeftOut = JsonText.Equals(ref reader, "role"u8);
            var isNullRefused = IsNullRefused(ref reader);
            reader.Read();
            var value = (int)reader.TokenStartIndex;
            var token = reader.TokenType;
            var isData = isContent && isToolResult && ToolResult.IsData(reader);
            var json = JsonText.Skip(ref reader, message);
            if (isContent || isCalls)
                json = PhpArrays.AsArray(json);
            isLeftOut |= (isNullRefused && token == JsonTokenType.Null) || (isCalls && IsEmpty(json));
            if (isLeftOut)
                continue;
            output.Write(","u8);
            output.Write(message[start..value]);
            if (isData)
            {
                ToolResult.Write(json, output);
                continue;
            }

            var isNumber = isContent && token == JsonTokenType.Number;
            output.Write(isNumber ? "\""u8 : default);
            output.Write(json);
            output.Write(isNumber ? "\""u8 : default);
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

    /// <summary>Whether a value cannot be a list of calls.</summary>
    private static bool IsEmpty(ReadOnlySpan<byte> json) =>
        json[0] != (byte)'[' || ParameterReader.IsEmptyArray(json);
}
