using System.ClientModel;
using System.ClientModel.Primitives;
using System.Diagnostics.CodeAnalysis;
using System.Net.Http;
using OpenAI;
using OpenAI.Chat;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// What the official SDK does for the backend: the headers of a request, with <see cref="KeyPolicy"/>.
/// <see cref="ChatRequestBody"/> writes the body.
/// </summary>
/// <remarks>
/// The SDK writes the request and does not send it: its pipeline would wait for the answer in sixteen
/// methods, with an object and a wake-up for each. So the pipeline ends with <see cref="WrittenPolicy"/>,
/// which returns the request ready to send. The backend itself does retries, time limits and the reading of
/// the answer.
/// </remarks>
internal sealed class ChatRequestWriter : PipelineTransport
{
    private const string ContentTypeName = "Content-Type";

    /// <summary>Longest id or pattern passed on in a header.</summary>
    private const int MaxHeaderLength = 256;

    private static readonly RequestOptions s_requestOptions = CreateRequestOptions();

    private readonly ChatClient _client;
    private readonly Uri _address;

    public ChatRequestWriter(OpenAIOptions options, UpstreamKey key)
        : base(enableLogging: false, loggerFactory: null)
    {
        _address = ApiAddress.Completions(options.ApiBase);
        var clientOptions = new OpenAIClientOptions
        {
            Endpoint = options.ApiBase,
            Transport = this,
            // The SDK's retries know neither how long the client's head may wait nor what else fails.
            RetryPolicy = new NextPolicy(),
            NetworkTimeout = Timeout.InfiniteTimeSpan,
            EnableDistributedTracing = false,
            ClientLoggingOptions = new ClientLoggingOptions { EnableLogging = false },
        };
        clientOptions.AddPolicy(new WrittenPolicy(), PipelinePosition.BeforeTransport);
#pragma warning disable OPENAI001 // Its other constructors send the key only as a bearer token.
        _client = new ChatClient(options.Model, new KeyPolicy(key, options.Auth), clientOptions);
#pragma warning restore OPENAI001
    }

    /// <summary>Lets the SDK write the request, which it does without waiting for anything.</summary>
    public async ValueTask<HttpRequestMessage> WriteAsync(StreamRequest request, ChatRequestBody body)
    {
        var result = await _client.CompleteChatAsync(body, s_requestOptions);
        var message = ((WrittenResponse)result.GetRawResponse()).Message;
        if (IsHeaderSafe(request.TestPattern))
            message.Headers.TryAddWithoutValidation("X-Test-Pattern", request.TestPattern);
        if (IsHeaderSafe(request.RequestId))
        {
            // Gateways log the first; the official API logs the second.
            message.Headers.TryAddWithoutValidation("X-Request-Id", request.RequestId);
            message.Headers.TryAddWithoutValidation("X-Client-Request-Id", request.RequestId);
        }

        return message;
    }

    protected override PipelineMessage CreateMessageCore() => new Message(new Request(this));

    /// <summary>Never reached: the policy before it ends the pipeline.</summary>
    protected override void ProcessCore(PipelineMessage message) => throw new NotSupportedException();

    /// <inheritdoc cref="ProcessCore"/>
    protected override ValueTask ProcessCoreAsync(PipelineMessage message) =>
        throw new NotSupportedException();

    private static RequestOptions CreateRequestOptions()
    {
        var options = new RequestOptions
        {
            BufferResponse = false,
            ErrorOptions = ClientErrorBehaviors.NoThrow,
        };
        // The transport sets text/event-stream behind the pipeline. A pipeline that sees it here
        // (System.ClientModel 1.16 and later) keeps a copy of the body, follows redirects, buffers each event
        // without limit, and sends the prompt again after a broken stream.
        options.SetHeader("Accept", "application/json");
        return options;
    }

    private static bool IsHeaderSafe(string? value) => value is { Length: > 0 and <= MaxHeaderLength }
        && !value.AsSpan().ContainsAnyExceptInRange('!', '~');

    /// <summary>The SDK's request, written straight into the HTTP client's.</summary>
    private sealed class Request : PipelineRequest
    {
        private readonly ChatRequestWriter _writer;
        private readonly HeaderView _headers;
        private BinaryContent? _content;
        public string? ContentType { get; set; }

        public Request(ChatRequestWriter writer)
        {
            _writer = writer;
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
            // The SDK appends its endpoint to any base, and is no judge of a query.
            set => Message.RequestUri = _writer._address;
        }

        protected override PipelineRequestHeaders HeadersCore => _headers;

        protected override BinaryContent? ContentCore
        {
            get => _content;
            set
            {
                _content = value;
                Message.Content = ((ChatRequestBody?)value)?.ToHttpContent();
                if (ContentType is not null)
                    Message.Content?.Headers.TryAddWithoutValidation(ContentTypeName, ContentType);
            }
        }

        public override void Dispose()
        {
        }
    }

    /// <summary>The headers, as unparsed text. Content-Type waits for its content.</summary>
    private sealed class HeaderView(Request request) : PipelineRequestHeaders
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

            request.ContentType = value;
            request.Message.Content?.Headers.TryAddWithoutValidation(ContentTypeName, value);
        }

        public override bool Remove(string name)
        {
            if (!IsContentType(name))
                return request.Message.Headers.Remove(name);
            var had = request.ContentType is not null;
            request.ContentType = null;
            request.Message.Content?.Headers.Remove(ContentTypeName);
            return had;
        }

        public override bool TryGetValue(string name, [NotNullWhen(true)] out string? value)
        {
            value = IsContentType(name)
                ? request.ContentType
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
            if (request.ContentType is not null)
                yield return new(ContentTypeName, request.ContentType);
        }

        private static bool IsContentType(string name) =>
            name.Equals(ContentTypeName, StringComparison.OrdinalIgnoreCase);
    }

    private sealed class Message(Request request) : PipelineMessage(request)
    {
        public void OnWritten() => Response = new WrittenResponse(request.Message);
    }

    private sealed class NextPolicy : PipelinePolicy
    {
        public override void Process(
            PipelineMessage message, IReadOnlyList<PipelinePolicy> pipeline, int currentIndex) =>
            pipeline[currentIndex + 1].Process(message, pipeline, currentIndex + 1);

        public override ValueTask ProcessAsync(
            PipelineMessage message, IReadOnlyList<PipelinePolicy> pipeline, int currentIndex) =>
            pipeline[currentIndex + 1].ProcessAsync(message, pipeline, currentIndex + 1);
    }

    private sealed class WrittenPolicy : PipelinePolicy
    {
        public override void Process(
            PipelineMessage message, IReadOnlyList<PipelinePolicy> pipeline, int currentIndex) =>
            ((Message)message).OnWritten();

        public override ValueTask ProcessAsync(
            PipelineMessage message, IReadOnlyList<PipelinePolicy> pipeline, int currentIndex)
        {
            Process(message, pipeline, currentIndex);
            return ValueTask.CompletedTask;
        }
    }

    /// <summary>Carries the request out of the SDK's pipeline, in place of a response that has not arrived
    /// yet.</summary>
    private sealed class WrittenResponse(HttpRequestMessage request) : PipelineResponse
    {
        public HttpRequestMessage Message { get; } = request;

        public override int Status => throw NotYet();

        public override string ReasonPhrase => throw NotYet();

        public override Stream? ContentStream
        {
            get => throw NotYet();
            set => throw NotYet();
        }

        public override BinaryData Content => throw NotYet();

        protected override PipelineResponseHeaders HeadersCore => throw NotYet();

        public override BinaryData BufferContent(CancellationToken cancellationToken = default) =>
            throw NotYet();

        public override ValueTask<BinaryData> BufferContentAsync(
            CancellationToken cancellationToken = default) => throw NotYet();

        public override void Dispose()
        {
        }

        private static InvalidOperationException NotYet() => new("the request has not been sent");
    }
}
