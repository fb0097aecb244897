using System.ClientModel;
using System.Net;
using System.Net.Http;
using System.Text.Encodings.Web;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// The JSON of one chat completion request, for all its attempts. It drops its bytes when disposed: the
/// connection keeps its request alive until the stream's end, and ten thousand long conversations must not
/// stay in memory for half a minute.
/// </summary>
internal sealed class ChatRequestBody : BinaryContent
{
    // The body is JSON for a JSON API, never HTML: escaping every non-ASCII letter would triple it.
    private static readonly JsonWriterOptions s_writerOptions =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The buffer that a thread keeps for its next request. Most requests are written into it and
    /// copied once.</summary>
    private const int KeptBytes = 16 * 1024;

    /// <summary>A socket keeps the buffer of its last send until the next send, which over HTTP/1.1 is the
    /// next request. So the last piece is short: the connection copies it into its own buffer.</summary>
    private const int LastBytes = 1024;

    /// <summary>A quarter of HTTP/2's initial window (RFC 9113, 6.9.2).</summary>
    private const int MostSentAtOnce = 16 * 1024;

    [ThreadStatic]
    private static SegmentWriter? s_buffer;

    [ThreadStatic]
    private static Utf8JsonWriter? s_writer;

    // Not pooled: an upstream may answer before it has taken the whole body, and then a send in flight still
    // reads these bytes. That send holds its own reference, so the collector frees them in time.
    private ReadOnlyMemory<byte>[] _pieces;

    /// <param name="request">What the application asked for.</param>
    /// <param name="model">The model to ask.</param>
    /// <param name="passUnknown">True to send the unknown parameters too.</param>
    public ChatRequestBody(StreamRequest request, string model, bool passUnknown = false)
    {
        var buffer = s_buffer ??= new SegmentWriter(KeptBytes);
        var writer = s_writer ??= new Utf8JsonWriter(buffer, s_writerOptions);
        try
        {
            ChatRequestJson.Write(writer, buffer, request, model, passUnknown);
            writer.Flush();
            _pieces = buffer.Take();
            foreach (var piece in _pieces)
                Length += piece.Length;
        }
        finally
        {
            buffer.Reset();
            writer.Reset();
        }
    }

    /// <summary>Bytes of the JSON.</summary>
    public int Length { get; }

    /// <summary>The content for the HTTP client. While it sends content of an unknown kind, it also waits for
    /// the answer, which costs two tasks. Short content is of a kind with known bytes, which it sends
    /// first.</summary>
    public HttpContent ToHttpContent() => Length <= MostSentAtOnce ? new ShortBody(this) : new Body(this);

    public override bool TryComputeLength(out long length)
    {
        length = Length;
        return true;
    }

    public override async Task WriteToAsync(Stream stream, CancellationToken cancellationToken = default)
    {
        // Captured now: the send may outlive the fields.
        var pieces = _pieces;
        for (var i = 0; i < pieces.Length; i++)
        {
            var rest = pieces[i];
            if (i == pieces.Length - 1 && rest.Length > LastBytes)
            {
                await stream.WriteAsync(rest[..^LastBytes], cancellationToken);
                rest = rest[^LastBytes..];
            }

            await stream.WriteAsync(rest, cancellationToken);
        }
    }

    public override void WriteTo(Stream stream, CancellationToken cancellationToken = default)
    {
        foreach (var piece in _pieces)
            stream.Write(piece.Span);
    }

    public override void Dispose() => _pieces = [];

    /// <summary>The body in the form that the HTTP client takes.</summary>
    private sealed class Body(ChatRequestBody content) : HttpContent
    {
        protected override bool TryComputeLength(out long length) => content.TryComputeLength(out length);

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            content.WriteToAsync(stream);

        protected override Task SerializeToStreamAsync(
            Stream stream, TransportContext? context, CancellationToken cancellationToken) =>
            content.WriteToAsync(stream, cancellationToken);
    }

    /// <summary>As <see cref="Body"/>, but of the kind that the HTTP client sends first. It does not own the
    /// bytes: the connection holds its content until the response has ended.</summary>
    private sealed class ShortBody(ChatRequestBody content) : ByteArrayContent([])
    {
        protected override bool TryComputeLength(out long length) => content.TryComputeLength(out length);

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            content.WriteToAsync(stream);

        protected override Task SerializeToStreamAsync(
            Stream stream, TransportContext? context, CancellationToken cancellationToken) =>
            content.WriteToAsync(stream, cancellationToken);
    }
}
