using System.Buffers;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Writes the JSON of a chat completion request. What the application wrote as JSON, its messages
/// and parameters, is sent byte for byte.</summary>
internal static class ChatRequestJson
{
    /// <summary>Characters of a text written at a time: the writer asks for six bytes for each, in one
    /// piece.</summary>
    private const int CharsAtATime = 2 * 1024;

    /// <summary>Bytes of JSON copied at a time: a whole conversation in one piece would be a large
    /// object.</summary>
    private const int BytesAtATime = 16 * 1024;

    private const string StreamOptions = "stream_options";

    /// <summary>The deepest nesting the writer can write. The handoff's own limit is lower.</summary>
    private static readonly JsonDocumentOptions s_anyDepth = new() { MaxDepth = JsonText.MaxDepth };

    /// <param name="writer">Writes into the buffer.</param>
    /// <param name="buffer">Gets the application's JSON, past the writer.</param>
    /// <param name="request">What the application asked for.</param>
    /// <param name="model">The model to ask.</param>
    /// <param name="withUnknown">True to write the unknown parameters too.</param>
    public static void Write(Utf8JsonWriter writer, IBufferWriter<byte> buffer, StreamRequest request,
        string model, bool withUnknown)
    {
        writer.WriteStartObject();
        writer.WriteString("model"u8, model);
        WriteMessages(writer, buffer, request);
        if (request.MaxTokens is { } maxTokens)
            writer.WriteNumber("max_tokens"u8, maxTokens);
        if (request.Temperature is { } temperature && double.IsFinite(temperature))
            writer.WriteNumber("temperature"u8, temperature);
        WriteParameters(writer, buffer, request, withUnknown);
        writer.WriteBoolean("stream"u8, true);
        writer.WriteEndObject();
    }

    private static void WriteMessages(
        Utf8JsonWriter writer, IBufferWriter<byte> buffer, StreamRequest request)
    {
        writer.WriteStartArray("messages"u8);
        var withSystem = !string.IsNullOrEmpty(request.System)
            && request.Messages is not { HasInstructions: true };
        if (withSystem)
            WriteMessage(writer, "system", request.System!);
        if (request.Messages is { } messages)
        {
            writer.Flush();
            if (withSystem)
                buffer.Write(","u8);
            // The writer has written the brackets.
            Copy(messages.Json.Span[1..^1], buffer);
        }
        else
        {
            WriteMessage(writer, "user", request.Prompt ?? "");
        }

        writer.WriteEndArray();
    }

    private static void WriteParameters(
        Utf8JsonWriter writer, IBufferWriter<byte> buffer, StreamRequest request, bool withUnknown)
    {
        var withUsage = request.Wanted.HasFlag(DeltaKinds.Usage);
        if (withUsage)
            WriteUsageOption(writer, request);
        if (request.Parameters.Count > 0)
        {
            foreach (var (name, json) in request.Parameters)
            {
                if (!withUsage || name != StreamOptions)
                    WriteParameter(writer, buffer, name, json.Span);
            }
        }

        if (!withUnknown || request.UnknownParameters.Count == 0)
            return;
        foreach (var (name, json) in request.UnknownParameters)
            WriteParameter(writer, buffer, name, json.Span);
    }

    private static void WriteParameter(
        Utf8JsonWriter writer, IBufferWriter<byte> buffer, string name, ReadOnlySpan<byte> json)
    {
        writer.WritePropertyName(name);
        var isObject = json[0] == (byte)'{';
        if (!isObject && json[0] != (byte)'[')
        {
            writer.WriteRawValue(json, skipInputValidation: true);
            return;
        }

        // As with messages, the writer writes the brackets of what may be long.
        if (isObject)
            writer.WriteStartObject();
        else
            writer.WriteStartArray();
        writer.Flush();
        Copy(json[1..^1], buffer);
        if (isObject)
            writer.WriteEndObject();
        else
            writer.WriteEndArray();
    }

    /// <summary>Writes <c>stream_options</c> for a stream that shows token counts: the application's, with
    /// <c>include_usage</c>.</summary>
    private static void WriteUsageOption(Utf8JsonWriter writer, StreamRequest request)
    {
        writer.WriteStartObject(StreamOptions);
        writer.WriteBoolean("include_usage"u8, true);
        if (request.Parameters.TryGetValue(StreamOptions, out var json) && json.Span[0] == (byte)'{')
        {
            using var given = JsonDocument.Parse(json, s_anyDepth);
            foreach (var option in given.RootElement.EnumerateObject())
            {
                if (!option.NameEquals("include_usage"u8))
                    option.WriteTo(writer);
            }
        }

        writer.WriteEndObject();
    }

    private static void Copy(ReadOnlySpan<byte> json, IBufferWriter<byte> buffer)
    {
        while (!json.IsEmpty)
        {
            var length = Math.Min(BytesAtATime, json.Length);
            json[..length].CopyTo(buffer.GetSpan(length));
            buffer.Advance(length);
            json = json[length..];
        }
    }

    private static void WriteMessage(Utf8JsonWriter writer, string role, string content)
    {
        writer.WriteStartObject();
        writer.WriteString("role"u8, role);
        WriteText(writer, content);
        writer.WriteEndObject();
    }

    private static void WriteText(Utf8JsonWriter writer, string text)
    {
        if (text.Length <= CharsAtATime)
        {
            writer.WriteString("content"u8, text);
            return;
        }

        writer.WritePropertyName("content"u8);
        for (var offset = 0; offset < text.Length; offset += CharsAtATime)
        {
            var length = Math.Min(CharsAtATime, text.Length - offset);
            writer.WriteStringValueSegment(text.AsSpan(offset, length),
                isFinalSegment: offset + length == text.Length);
        }
    }
}
