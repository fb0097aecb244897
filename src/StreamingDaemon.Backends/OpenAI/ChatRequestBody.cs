using System.Buffers;
using System.ClientModel;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// The JSON of one chat completion request, for all its attempts. Lets go of its bytes when disposed: the
/// connection keeps its request alive until the stream's end, and ten thousand long conversations must not
/// stay in memory for half a minute.
/// </summary>
internal sealed class ChatRequestBody : BinaryContent
{
    // The body is JSON for a JSON API, never HTML: escaping every letter outside ASCII would triple it.
    private static readonly JsonWriterOptions s_writerOptions =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The largest buffer that a thread keeps for its next request.</summary>
    private const int MaxKeptBytes = 16 * 1024;

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? t_buffer;

    [ThreadStatic]
    private static Utf8JsonWriter? t_writer;

    // Not pooled: an upstream may answer before it has taken the whole body, and then a send in flight still
    // reads these bytes. It holds its own reference; the collector sorts it out.
    private ReadOnlyMemory<byte> _bytes;

    public ChatRequestBody(StreamRequest request, string model)
    {
        var buffer = t_buffer ??= new ArrayBufferWriter<byte>(1024);
        var writer = t_writer ??= new Utf8JsonWriter(buffer, s_writerOptions);
        try
        {
            Write(writer, request, model);
            writer.Flush();
            _bytes = buffer.WrittenSpan.ToArray();
        }
        finally
        {
            buffer.ResetWrittenCount();
            writer.Reset();
            // A long conversation's is let go.
            if (buffer.Capacity > MaxKeptBytes) (t_buffer, t_writer) = (null, null);
        }
    }

    public ReadOnlyMemory<byte> Bytes => _bytes;

    public override bool TryComputeLength(out long length)
    {
        length = _bytes.Length;
        return true;
    }

    public override Task WriteToAsync(Stream stream, CancellationToken cancellationToken = default) =>
        stream.WriteAsync(_bytes, cancellationToken).AsTask();

    public override void WriteTo(Stream stream, CancellationToken cancellationToken = default) =>
        stream.Write(_bytes.Span);

    public override void Dispose() => _bytes = default;

    private static void Write(Utf8JsonWriter writer, StreamRequest request, string model)
    {
        writer.WriteStartObject();
        writer.WriteString("model"u8, model);
        WriteMessages(writer, request);
        if (request.MaxTokens is { } maxTokens) writer.WriteNumber("max_tokens"u8, maxTokens);
        if (request.Temperature is { } temperature && double.IsFinite(temperature))
            writer.WriteNumber("temperature"u8, temperature);
        writer.WriteBoolean("stream"u8, true);
        writer.WriteEndObject();
    }

    private static void WriteMessages(Utf8JsonWriter writer, StreamRequest request)
    {
        writer.WriteStartArray("messages"u8);
        if (request.Messages.Count > 0)
        {
            foreach (var turn in request.Messages) WriteMessage(writer, turn.Role, turn.Content);
        }
        else
        {
            if (!string.IsNullOrEmpty(request.System)) WriteMessage(writer, "system", request.System);
            WriteMessage(writer, "user", request.Prompt ?? "");
        }

        writer.WriteEndArray();
    }

    private static void WriteMessage(Utf8JsonWriter writer, string role, string content)
    {
        writer.WriteStartObject();
        writer.WriteString("role"u8, role);
        writer.WriteString("content"u8, content);
        writer.WriteEndObject();
    }
}
