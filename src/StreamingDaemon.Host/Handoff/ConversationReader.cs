using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Reads <c>messages</c>. Its JSON goes to the upstream byte for byte: roles, names, tool calls, parts with
/// images, and fields that only some server knows. A turn is left out if no server could use it
/// (<see cref="Turn.IsSendable"/>), and with it the turns that make no sense alone
/// (<see cref="ToolExchanges"/>).
/// </summary>
internal static class ConversationReader
{
    /// <summary>Reads the value of the field.</summary>
    /// <returns>Null if no turn is left.</returns>
    public static Conversation? Read(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> data, HandoffRequest request)
    {
        reader.Read();
        var start = (int)reader.TokenStartIndex;
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            if (reader.TokenType != JsonTokenType.Null)
                request.NoteUnusable("messages");
            reader.Skip();
            return null;
        }

        var turns = new List<Turn>();
        var isWhole = true;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            var turn = Turn.Read(ref reader);
            isWhole &= turn.IsSendable && turn.NamesRole;
            turns.Add(turn);
        }

        if (turns.Count == 0)
            return null;
        var array = data[start..(int)reader.BytesConsumed];
        var json = isWhole ? array.ToArray() : Compose(data, turns, request);
        return json is null
            ? null
            : new Conversation(JsonText.Repair(json),
                turns.Exists(turn => turn is { IsSendable: true, Kind: TurnKind.Instructions }));
    }

    /// <summary>Writes the array anew, because some turn is left out or has no role.</summary>
    private static byte[]? Compose(ReadOnlySpan<byte> data, List<Turn> turns, HandoffRequest request)
    {
        ToolExchanges.LeaveOutBroken(data, turns);
        var output = new ArrayBufferWriter<byte>();
        for (var i = 0; i < turns.Count; i++)
        {
            if (!turns[i].IsSendable)
            {
                if (request.Unusable.Count < HandoffRequest.MostNoted)
                    request.NoteUnusable($"messages[{i}]");
                continue;
            }

            output.Write(output.WrittenCount == 0 ? "["u8 : ","u8);
            var message = turns[i].JsonIn(data);
            if (turns[i].NamesRole)
                output.Write(message);
            else
                WriteWithRole(message, output);
        }

        if (output.WrittenCount == 0)
            return null;
        output.Write("]"u8);
        return output.WrittenSpan.ToArray();
    }

    /// <summary>Writes a message whose role is missing or is no text: it is the user's.</summary>
    private static void WriteWithRole(ReadOnlySpan<byte> message, ArrayBufferWriter<byte> output)
    {
        output.Write("{\"role\":\"user\""u8);
        var reader = new Utf8JsonReader(message, HandoffRequestReader.Options);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var start = (int)reader.TokenStartIndex;
            var isRole = JsonText.Equals(ref reader, "role"u8);
            reader.Read();
            reader.Skip();
            if (isRole)
                continue;
            output.Write(","u8);
            output.Write(message[start..(int)reader.BytesConsumed]);
        }

        output.Write("}"u8);
    }
}
