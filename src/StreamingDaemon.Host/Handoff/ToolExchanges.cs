using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Sends calls of tools and their results together or not at all: servers refuse a whole conversation for a
/// result without its call, or a call without its result. An exchange is an assistant's turn with calls,
/// and the results that follow it. If one of its turns has to be left out, all of it is.
/// </summary>
internal static class ToolExchanges
{
    /// <summary>Leaves out the partners of turns that are left out. An exchange that the application itself
    /// sends without some partner stays as it is.</summary>
    /// <param name="data">The handoff data.</param>
    /// <param name="turns">The turns; <see cref="Turn.IsSendable"/> is cleared in those to leave out.</param>
    public static void LeaveOutBroken(ReadOnlySpan<byte> data, List<Turn> turns)
    {
        for (int start = 0, end; start < turns.Count; start = end)
        {
            end = start + 1;
            if (!Begins(turns[start]))
                continue;
            var lost = !turns[start].IsSendable;
            for (; end < turns.Count && Continues(turns[end]); end++)
                lost |= turns[end] is { IsSendable: false, Kind: TurnKind.Unreadable or TurnKind.ToolResult };
            if (lost && !(turns[start].IsSendable && AreAnswered(data, turns, start, end)))
                LeaveOut(turns, start, end);
        }
    }

    /// <summary>A turn that cannot be read may have been the call of the results after it.</summary>
    private static bool Begins(in Turn turn) => turn.Kind == TurnKind.ToolCalls
        || turn is { IsSendable: false, Kind: TurnKind.Assistant or TurnKind.Unreadable };

    /// <summary>A turn that is left out does not separate a call from its results.</summary>
    private static bool Continues(in Turn turn) => turn.Kind == TurnKind.ToolResult
        || turn is { IsSendable: false, Kind: not TurnKind.Assistant };

    private static void LeaveOut(List<Turn> turns, int start, int end)
    {
        for (var i = start; i < end; i++)
            turns[i] = turns[i] with { IsSendable = false };
    }

    /// <summary>Whether each call of the first turn has its result among the others.</summary>
    private static bool AreAnswered(ReadOnlySpan<byte> data, List<Turn> turns, int start, int end)
    {
        var answers = new HashSet<string>(StringComparer.Ordinal);
        for (var i = start + 1; i < end; i++)
        {
            if (!turns[i].IsSendable)
                continue;
            using var result = Parse(turns[i].JsonIn(data));
            // Results of the older function calls have a name, and no id.
            if (TextOf(result.RootElement, "tool_call_id") is { } id)
                answers.Add("id " + id);
            else if (TextOf(result.RootElement, "name") is { } name)
                answers.Add("name " + name);
        }

        using var calling = Parse(turns[start].JsonIn(data));
        return (!calling.RootElement.TryGetProperty("tool_calls", out var calls)
                || CallsIn(calls).All(call => IsAnswered(call, "id", answers)))
            && (!calling.RootElement.TryGetProperty("function_call", out var function)
                || function.ValueKind != JsonValueKind.Object
                || IsAnswered(function, "name", answers));
    }

    /// <summary>The calls of a list, of PHP's object in place of one, or one call without a list.</summary>
    private static IEnumerable<JsonElement> CallsIn(JsonElement calls) => calls.ValueKind switch
    {
        JsonValueKind.Array => calls.EnumerateArray(),
        JsonValueKind.Object when calls.TryGetProperty("function", out _)
            || calls.TryGetProperty("custom", out _) => [calls],
        JsonValueKind.Object => calls.EnumerateObject().Select(call => call.Value),
        _ => [],
    };

    private static bool IsAnswered(JsonElement call, string key, HashSet<string> answers) =>
        call.ValueKind == JsonValueKind.Object && TextOf(call, key) is { } text
        && answers.Contains($"{key} {text}");

    private static string? TextOf(JsonElement message, string name) =>
        message.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;

    // Repaired first: the document model refuses halves of surrogate pairs.
    private static JsonDocument Parse(ReadOnlySpan<byte> message) => JsonDocument.Parse(
        JsonText.Repair(message.ToArray()),
        new JsonDocumentOptions { MaxDepth = HandoffRequestReader.Options.MaxDepth });
}
