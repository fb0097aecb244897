using System.Buffers;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Formats;

/// <summary>
/// <c>text</c>: <c>data: {"content":"…"}</c> for each piece of text, then <c>data: [DONE]</c>. Reasoning,
/// finish reason and usage are events of their own, if they are asked for.
/// </summary>
internal sealed class TextFormat : StreamFormat
{
    private TextFormat()
    {
    }

    public static TextFormat Instance { get; } = new();

    public override string Name => "text";

    public override DeltaKinds Wanted(DeltaKinds events) => DeltaKinds.Text | events;

    public override void Write(IBufferWriter<byte> output, StreamDelta delta, in AnswerFacts facts)
    {
        var value = delta.Text.Span;
        switch (delta.Kind)
        {
            case DeltaKinds.Text:
                ServerSentEvents.WriteContent(output, value);
                break;
            case DeltaKinds.Reasoning:
                WriteString(output, "reasoning"u8, value);
                break;
            case DeltaKinds.FinishReason:
                WriteString(output, "finish_reason"u8, value);
                break;
            case DeltaKinds.Usage:
                ServerSentEvents.BeginEvent(output);
                output.Write("{\"usage\":"u8);
                output.Write(value);
                output.Write("}"u8);
                ServerSentEvents.EndEvent(output);
                break;
            default:
                throw new ArgumentException($"text has no event for {delta.Kind}", nameof(delta));
        }
    }

    public override void WriteError(
        IBufferWriter<byte> output, ErrorResponse error, in AnswerFacts facts) =>
        ServerSentEvents.WriteError(output, error, facts.RequestId);

    public override string ErrorBody(ErrorResponse error, in AnswerFacts facts) =>
        $"{{\"error\":{{\"code\":\"{error.Code.Word()}\",\"message\":\"{error.Message}\","
        + $"\"request_id\":\"{facts.RequestId}\"}}}}\n";

    private static void WriteString(
        IBufferWriter<byte> output, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        ServerSentEvents.BeginEvent(output);
        output.Write("{\""u8);
        output.Write(name);
        output.Write("\":\""u8);
        ServerSentEvents.WriteEscaped(output, value);
        output.Write("\"}"u8);
        ServerSentEvents.EndEvent(output);
    }
}
