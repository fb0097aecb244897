using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Formats;

/// <summary>
/// <c>openai</c>: what <c>POST /chat/completions</c> streams (OpenAI API reference, "Chat completion chunk").
/// An upstream's chunk is one event, byte for byte. A backend without chunks sends other deltas, and the
/// chunks are made here.
/// </summary>
internal sealed class OpenAIFormat : StreamFormat
{
    public override string Name => "openai";

    public override bool NeedsFinishReason => true;

    /// <remarks>A client of the API takes an end without <c>[DONE]</c> for a whole answer.</remarks>
    public override ErrorResponse? TruncationError => ErrorResponse.BrokenOff;

    public override DeltaKinds Wanted(DeltaKinds events) => DeltaKinds.Chunk;

    public override void Write(IBufferWriter<byte> output, StreamDelta delta, in AnswerFacts facts)
    {
        var value = delta.Text.Span;
        switch (delta.Kind)
        {
            case DeltaKinds.Chunk:
                ServerSentEvents.WriteData(output, value);
                break;
            case DeltaKinds.Text:
                WriteDelta(output, "\"content\":\""u8, value, facts);
                break;
            case DeltaKinds.Reasoning:
                WriteDelta(output, "\"reasoning_content\":\""u8, value, facts);
                break;
            case DeltaKinds.FinishReason:
                WriteStart(output, facts);
                output.Write("[{\"index\":0,\"delta\":{},\"finish_reason\":\""u8);
                ServerSentEvents.WriteEscaped(output, value);
                output.Write("\"}]}"u8);
                ServerSentEvents.EndEvent(output);
                break;
            case DeltaKinds.Usage:
                WriteUsage(output, value, facts);
                break;
            default:
                throw new ArgumentException($"openai has no event for {delta.Kind}", nameof(delta));
        }
    }

    public override void WriteError(
        IBufferWriter<byte> output, ErrorResponse error, in AnswerFacts facts) =>
        ServerSentEvents.WriteData(output, Encoding.UTF8.GetBytes(ErrorObject(error, facts)));

    public override string ErrorBody(ErrorResponse error, in AnswerFacts facts) =>
        ErrorObject(error, facts) + "\n";

    private static string ErrorObject(ErrorResponse error, in AnswerFacts facts) =>
        $"{{\"error\":{{\"message\":\"{error.Message}\",\"type\":\"{TypeOf(error.Status)}\",\"param\":null,"
        + $"\"code\":\"{error.Code.Word()}\",\"request_id\":\"{facts.RequestId}\"}}}}";

    private static string TypeOf(int status) => status switch
    {
        429 => "rate_limit_error",
        < 500 => "invalid_request_error",
        _ => "server_error",
    };

    private static void WriteDelta(IBufferWriter<byte> output, ReadOnlySpan<byte> name,
        ReadOnlySpan<byte> text, in AnswerFacts facts)
    {
        WriteStart(output, facts);
        output.Write("[{\"index\":0,\"delta\":{"u8);
        if (facts.IsFirst)
            output.Write("\"role\":\"assistant\","u8);
        output.Write(name);
        ServerSentEvents.WriteEscaped(output, text);
        output.Write("\"},\"finish_reason\":null}]}"u8);
        ServerSentEvents.EndEvent(output);
    }

    /// <summary>The chunk that follows the answer if its client asked for it
    /// (<c>stream_options.include_usage</c>): no choices, and the counts.</summary>
    private static void WriteUsage(
        IBufferWriter<byte> output, ReadOnlySpan<byte> usage, in AnswerFacts facts)
    {
        WriteStart(output, facts);
        output.Write("[],\"usage\":{"u8);
        var (prompt, completion) = Counts(usage);
        Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $"\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},"
            + $"\"total_tokens\":{prompt + completion}}}}}"), output);
        ServerSentEvents.EndEvent(output);
    }

    private static (long Prompt, long Completion) Counts(ReadOnlySpan<byte> usage)
    {
        long prompt = 0, completion = 0;
        var reader = new Utf8JsonReader(usage);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isPrompt = reader.ValueTextEquals("prompt_tokens"u8);
            var isCompletion = reader.ValueTextEquals("completion_tokens"u8);
            reader.Read();
            if (isPrompt)
                reader.TryGetInt64(out prompt);
            else if (isCompletion)
                reader.TryGetInt64(out completion);
            else
                reader.Skip();
        }

        return (prompt, completion);
    }

    private static void WriteStart(IBufferWriter<byte> output, in AnswerFacts facts)
    {
        ServerSentEvents.BeginEvent(output);
        output.Write("{\"id\":\"chatcmpl-"u8);
        Encoding.UTF8.GetBytes(facts.RequestId, output);
        output.Write("\",\"object\":\"chat.completion.chunk\",\"created\":"u8);
        var span = output.GetSpan(20);
        facts.Created.TryFormat(span, out var written, default, CultureInfo.InvariantCulture);
        output.Advance(written);
        output.Write(",\"model\":\""u8);
        ServerSentEvents.WriteEscaped(output, facts.Model);
        output.Write("\",\"choices\":"u8);
    }
}
