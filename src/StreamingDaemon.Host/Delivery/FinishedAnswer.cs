using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Delivery;

/// <summary>An answer that has ended, as it is delivered.</summary>
internal sealed record FinishedAnswer
{
    public required string RequestId { get; init; }

    public required UserId UserId { get; init; }

    public required string Backend { get; init; }

    /// <summary>The model that was asked; empty if the backend has none.</summary>
    public required string Model { get; init; }

    public required StreamOutcome Outcome { get; init; }

    public required AnswerContent Content { get; init; }

    /// <summary>The upstream's word for why the answer ended; null if it sent none.</summary>
    public string? FinishReason { get; init; }

    /// <summary>When the handoff was accepted.</summary>
    public required DateTimeOffset AcceptedAt { get; init; }

    /// <summary>From the accept to the first event; null if there was none.</summary>
    public required TimeSpan? TimeToFirstToken { get; init; }

    /// <summary>From the accept to the end of the answer.</summary>
    public required TimeSpan Duration { get; init; }

    /// <summary>Events that were written to the client.</summary>
    public required int Events { get; init; }

    /// <summary>The handoff's <c>delivery</c>: a JSON object, byte for byte; empty if there was none.
    /// </summary>
    public ReadOnlyMemory<byte> Delivery { get; init; }

    private static readonly JsonWriterOptions s_options = new()
    {
        // Every character as it is: nothing puts this text into HTML.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        SkipValidation = true,
    };

    /// <summary>The body of the request: one JSON object.</summary>
    /// <param name="id">The delivery's id.</param>
    public ReadOnlyMemory<byte> ToJson(string id)
    {
        var output = new ArrayBufferWriter<byte>(1024 + Content.Text.Length + Content.Reasoning.Length);
        using (var json = new Utf8JsonWriter(output, s_options))
        {
            json.WriteStartObject();
            json.WriteString("type", "answer.ended");
            json.WriteString("id", id);
            json.WriteString("request_id", RequestId);
            if (UserId.Number is { } number)
                json.WriteNumber("user_id", number);
            else
                json.WriteString("user_id", UserId.Text);
            json.WriteString("backend", Backend);
            json.WriteString("model", Model);
            json.WriteString("outcome", Outcome.ToString());
            json.WriteString("finish_reason", Content.FinishReason ?? FinishReason);
            WriteContent(json);
            WriteTimings(json);
            if (!Delivery.IsEmpty)
            {
                json.WritePropertyName("delivery");
                json.WriteRawValue(Delivery.Span, skipInputValidation: true);
            }

            json.WriteEndObject();
        }

        return output.WrittenMemory;
    }

    private void WriteContent(Utf8JsonWriter json)
    {
        json.WriteString("content", Content.Text);
        if (!Content.Reasoning.IsEmpty)
            json.WriteString("reasoning", Content.Reasoning);
        if (Content.ToolCalls is { } calls)
        {
            json.WritePropertyName("tool_calls");
            calls.WriteToolCalls(json);
        }

        if (!Content.Usage.IsEmpty)
        {
            json.WritePropertyName("usage");
            json.WriteRawValue(Content.Usage, skipInputValidation: true);
        }

        if (Content.IsTruncated)
            json.WriteBoolean("truncated", true);
    }

    private void WriteTimings(Utf8JsonWriter json)
    {
        json.WriteStartObject("timings");
        json.WriteString("accepted_at", Iso(AcceptedAt));
        json.WriteString("ended_at", Iso(AcceptedAt + Duration));
        if (TimeToFirstToken is { } first)
            json.WriteNumber("ttft_ms", Math.Round(first.TotalMilliseconds));
        else
            json.WriteNull("ttft_ms");
        json.WriteNumber("duration_ms", Math.Round(Duration.TotalMilliseconds));
        json.WriteNumber("events", Events);
        json.WriteEndObject();
    }

    private static string Iso(DateTimeOffset time) =>
        time.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);
}
