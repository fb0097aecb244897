using System.Globalization;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Reads the fields about answers that outlive their reader: <c>keep</c>, <c>resume</c>,
/// <c>last_event_id</c> and <c>stop</c>.</summary>
internal static class KeptAnswerReader
{
    /// <summary>Reads a field about kept answers.</summary>
    /// <returns>False if it is another field; the reader then has not moved.</returns>
    public static bool TryRead(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> data, HandoffRequest request)
    {
        if (JsonText.Equals(ref reader, "keep"u8))
            request.Keep = ReadKeep(ref reader, data, request);
        else if (JsonText.Equals(ref reader, "resume"u8))
            request.Resume = ReadId(ref reader, "resume", request);
        else if (JsonText.Equals(ref reader, "last_event_id"u8))
            request.LastEventId = ReadEventId(ref reader, request);
        else
            return false;
        return true;
    }

    /// <summary>A <c>stop</c> without a prompt names an answer. With a prompt it is the API's parameter, the
    /// texts at which the model stops.</summary>
    public static void FindStop(HandoffRequest request)
    {
        if (request.HasPrompt || request.Resume is not null
            || !request.Parameters.TryGetValue("stop", out var json))
        {
            return;
        }

        var reader = new Utf8JsonReader(json.Span);
        if (!reader.Read() || reader.TokenType is not (JsonTokenType.String or JsonTokenType.Number))
            return;
        var id = reader.TokenType == JsonTokenType.String
            ? JsonText.Read(ref reader)
            : System.Text.Encoding.UTF8.GetString(reader.ValueSpan);
        if (id.Length > 0)
            request.Stop = RequestId.FromApplication(id);
    }

    private static bool? ReadKeep(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> data, HandoffRequest request)
    {
        reader.Read();
        var token = reader.TokenType;
        var keep = PhpScalars.Boolean(token, JsonText.Skip(ref reader, data));
        if (keep is null && token != JsonTokenType.Null)
            request.NoteUnusable("keep");
        return keep;
    }

    private static string? ReadId(ref Utf8JsonReader reader, string field, HandoffRequest request)
    {
        reader.Read();
        var id = reader.TokenType switch
        {
            JsonTokenType.String => JsonText.Read(ref reader),
            JsonTokenType.Number => System.Text.Encoding.UTF8.GetString(reader.ValueSpan),
            _ => null,
        };
        if (!string.IsNullOrEmpty(id))
            return RequestId.FromApplication(id);
        if (reader.TokenType != JsonTokenType.Null)
            request.NoteUnusable(field);
        reader.Skip();
        return null;
    }

    /// <summary>A number, or the text of the header <c>Last-Event-ID</c>. No answer has more events than an
    /// int can count.</summary>
    private static int ReadEventId(ref Utf8JsonReader reader, HandoffRequest request)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.Null)
            return 0;
        if (reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out var number) && number >= 0
            && number == Math.Floor(number))
        {
            return (int)Math.Min(number, int.MaxValue);
        }

        if (reader.TokenType == JsonTokenType.String)
        {
            var text = JsonText.Read(ref reader).AsSpan().Trim();
            if (text.IsEmpty)
                return 0;
            if (!text.ContainsAnyExceptInRange('0', '9'))
                return int.TryParse(text, CultureInfo.InvariantCulture, out var id) ? id : int.MaxValue;
        }

        request.NoteUnusable("last_event_id");
        reader.Skip();
        return 0;
    }
}
