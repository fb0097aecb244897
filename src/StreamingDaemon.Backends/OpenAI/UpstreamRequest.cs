using System.ClientModel;
using System.ClientModel.Primitives;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The SDK's request, written straight into the HTTP client's.</summary>
internal sealed class UpstreamRequest : PipelineRequest
{
    private const string ContentType = "Content-Type";

    /// <summary>A quarter of the window that HTTP/2 begins with (RFC 9113, 6.9.2).</summary>
    private const int MostSentAtOnce = 16 * 1024;

    private readonly UpstreamTransport _transport;
    private readonly HeaderView _headers;
    private BinaryContent? _content;
    private string? _contentType;

    public UpstreamRequest(UpstreamTransport transport)
    {
        _transport = transport;
        _headers = new HeaderView(this);
    }

    /// <summary>What the HTTP client sends; the SDK's message does not dispose it.</summary>
    public HttpRequestMessage Message { get; } = new();

    protected override string MethodCore
    {
        get => Message.Method.Method;
        set => Message.Method = HttpMethod.Parse(value);
    }

    protected override Uri? UriCore
    {
        get => Message.RequestUri;
        set => Message.RequestUri = _transport.Known(value);
    }

    protected override PipelineRequestHeaders HeadersCore => _headers;

    protected override BinaryContent? ContentCore
    {
        get => _content;
        set
        {
            _content = value;
            Message.Content = value is null ? null : ContentOf(value);
            if (_contentType is not null)
                Message.Content?.Headers.TryAddWithoutValidation(ContentType, _contentType);
        }
    }

    public override void Dispose()
    {
    }

    /// <summary>Of content that it does not know, the HTTP client waits for the answer while it sends, which
    /// costs two tasks; for a short one, whose bytes it has, it sends first.</summary>
    private static HttpContent ContentOf(BinaryContent content) =>
        content is ChatRequestBody { Length: <= MostSentAtOnce }
            ? new ShortBody(content)
            : new Body(content);

    /// <summary>The headers, as text that nobody parses. Content-Type waits for its content.</summary>
    private sealed class HeaderView(UpstreamRequest request) : PipelineRequestHeaders
    {
        public override void Add(string name, string value)
        {
            if (IsContentType(name))
                Set(name, value);
            else
                request.Message.Headers.TryAddWithoutValidation(name, value);
        }

        public override void Set(string name, string value)
        {
            Remove(name);
            if (!IsContentType(name))
            {
                Add(name, value);
                return;
            }

            request._contentType = value;
            request.Message.Content?.Headers.TryAddWithoutValidation(ContentType, value);
        }

        public override bool Remove(string name)
        {
            if (!IsContentType(name))
                return request.Message.Headers.Remove(name);
            var had = request._contentType is not null;
            request._contentType = null;
            request.Message.Content?.Headers.Remove(ContentType);
            return had;
        }

        public override bool TryGetValue(string name, [NotNullWhen(true)] out string? value)
        {
            value = IsContentType(name)
                ? request._contentType
                : request.Message.Headers.NonValidated.TryGetValues(name, out var values)
                    ? values.ToString()
                    : null;
            return value is not null;
        }

        public override bool TryGetValues(string name, [NotNullWhen(true)] out IEnumerable<string>? values)
        {
            values = TryGetValue(name, out var value) ? [value] : null;
            return values is not null;
        }

        public override IEnumerator<KeyValuePair<string, string>> GetEnumerator()
        {
            foreach (var (name, values) in request.Message.Headers.NonValidated)
                yield return new(name, values.ToString());
            if (request._contentType is not null)
                yield return new(ContentType, request._contentType);
        }

        private static bool IsContentType(string name) =>
            name.Equals(ContentType, StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>The SDK's content as the HTTP client takes it.</summary>
    private sealed class Body(BinaryContent content) : HttpContent
    {
        protected override bool TryComputeLength(out long length) => content.TryComputeLength(out length);

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            content.WriteToAsync(stream);

        protected override Task SerializeToStreamAsync(
            Stream stream, TransportContext? context, CancellationToken cancellationToken) =>
            content.WriteToAsync(stream, cancellationToken);
    }

    /// <summary>As <see cref="Body"/>, but of the kind that the HTTP client sends first. The bytes are not
    /// its own: the connection holds its content until the response has ended.</summary>
    private sealed class ShortBody(BinaryContent content) : ByteArrayContent([])
    {
        protected override bool TryComputeLength(out long length) => content.TryComputeLength(out length);

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            content.WriteToAsync(stream);

        protected override Task SerializeToStreamAsync(
            Stream stream, TransportContext? context, CancellationToken cancellationToken) =>
            content.WriteToAsync(stream, cancellationToken);
    }
}
