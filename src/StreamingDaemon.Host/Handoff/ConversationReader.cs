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
        var isArray = reader.TokenType == JsonTokenType.StartArray;
        var turns = new List<Turn>();
        var isWhole = isArray;
        if (!isArray && !PhpArrays.IsList(reader))
        {
            // One message, or its text. A text is never read as JSON: what a user wrote must not become
            // another role's message.
            var isNull = reader.TokenType == JsonTokenType.Null;
            var only = Turn.Read(ref reader);
            if (only.IsSendable)
                turns.Add(only);
            else if (!isNull)
                request.NoteUnusable("messages");
        }
        else
        {
            while (PhpArrays.ReadItem(ref reader))
            {
                var turn = Turn.Read(ref reader);
                isWhole &= turn.IsSendable && turn.IsSound;
                turns.Add(turn);
            }
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

    /// <summary>Writes the array anew, because it is none, or some turn is left out or not sound.</summary>
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
            if (turns[i].IsSound)
                output.Write(message);
            else
                MessageWriter.Write(message, output);
        }

        if (output.WrittenCount == 0)
            return null;
        output.Write("]"u8);
        return output.WrittenSpan.ToArray();
    }
}
