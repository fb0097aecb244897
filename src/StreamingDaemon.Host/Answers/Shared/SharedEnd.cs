using System.Buffers;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>The end of an answer as it stands in the store: JSON. The error itself is an event; this is what
/// a reader's log line and status need.</summary>
internal static class SharedEnd
{
    public static string Write(AnswerEnd end)
    {
        var output = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(output))
        {
            json.WriteStartObject();
            json.WriteString("outcome", end.Result.Outcome.ToString());
            if (end.Result.FinishReason is { } finish)
                json.WriteString("finish_reason", finish);
            if (end.Error is { } error)
            {
                json.WriteString("code", error.Code.ToString());
                json.WriteNumber("status", error.Status);
                json.WriteString("message", error.Message);
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(output.WrittenSpan);
    }

    /// <returns>Null if it is not one: another version wrote it.</returns>
    public static AnswerEnd? Read(string text)
    {
        try
        {
            using var document = JsonDocument.Parse(text);
            var root = document.RootElement;
            if (!Enum.TryParse<StreamOutcome>(root.GetProperty("outcome").GetString(), out var outcome))
                return null;
            ErrorResponse? error = null;
            if (root.TryGetProperty("code", out var word))
            {
                if (!Enum.TryParse<ErrorCode>(word.GetString(), out var code))
                    return null;
                error = new ErrorResponse(code, root.GetProperty("status").GetInt32(),
                    root.GetProperty("message").GetString()!);
            }

            var finish = root.TryGetProperty("finish_reason", out var reason) ? reason.GetString() : null;
            return new AnswerEnd(new BackendResult(outcome) { FinishReason = finish }, error);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return null;
        }
    }
}
