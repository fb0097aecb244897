using System.ClientModel;
using System.ClientModel.Primitives;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http;
using System.Net.Security;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The one connection pool of a backend, and which HTTP version its requests ask for.</summary>
/// <remarks>
/// The SDK writes the request and its transport sends it: not inside the SDK's pipeline, which would wait for
/// the answer in sixteen methods, an object and a wake-up each, but after it, in one. So the pipeline ends
/// with <see cref="Written"/>, what it returns is the request as it is to be sent, and retries, time limits
/// and the reading of the answer are all this backend's.
/// </remarks>
internal sealed class UpstreamTransport : PipelineTransport, IDisposable
{
    private const string Accept = "Accept";
    private const string EventStream = "text/event-stream";

    // Measured at 3000 streams, at rest and while tokens come, with the kernel's share (docs/operations.md).
    private const int Http2Bytes = 16 * 1024;
    private const int Http1Bytes = 22 * 1024;

    /// <summary>OpenSSL's state and the buffers around it are four fifths of this.</summary>
    private const int Http1TlsBytes = 112 * 1024;

    private readonly HttpMessageInvoker _client;
    private readonly Preconnector? _standby;
    private readonly Version _version;
    private readonly HttpVersionPolicy _versionPolicy;
    private readonly bool _isTls;
    private Uri? _known;
    private bool _isConnectionEach;

    public UpstreamTransport(OpenAIOptions options)
        : base(enableLogging: false, loggerFactory: null)
    {
        // No HttpClient: its total time is not for streams that live for minutes, which the daemon's
        // watchdogs end, and a token source for each request is all that it would add.
        var isTls = _isTls = options.ApiBase.Scheme == Uri.UriSchemeHttps;
        _isConnectionEach = !options.Http2Enabled;
        if (isTls && options is { Http2Enabled: true, ApiSocket: null })
            _standby = CreateStandby(options);
        _client = new HttpMessageInvoker(CreateHandler(options, _standby));
        _version = options.Http2Enabled ? HttpVersion.Version20 : HttpVersion.Version11;
        // Without TLS there is no ALPN to agree on a version: HTTP/2 is then prior knowledge, or nothing.
        _versionPolicy = options.Http2Enabled && isTls
            ? HttpVersionPolicy.RequestVersionOrLower
            : HttpVersionPolicy.RequestVersionExact;
    }

    /// <summary>The end of the SDK's pipeline: the request is written.</summary>
    public static PipelinePolicy Written { get; } = new WrittenPolicy();

    /// <summary>In the place of the SDK's retries.</summary>
    public static PipelinePolicy NoRetries { get; } = new NextPolicy();

    /// <summary>The request that the SDK wrote.</summary>
    public static HttpRequestMessage RequestOf(ClientResult result) =>
        ((WrittenResponse)result.GetRawResponse()).Request;

    /// <summary>Sends it; returns when the head of the response has come.</summary>
    /// <remarks>
    /// The Accept header is set here, behind the SDK's pipeline. Where the pipeline itself sees
    /// <c>text/event-stream</c> (System.ClientModel 1.16 and later), it keeps a copy of the body, follows
    /// redirects, buffers each event without limit, and after a broken stream sends the prompt again.
    /// </remarks>
    public Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, CancellationToken cancellationToken)
    {
        request.Version = _version;
        request.VersionPolicy = _versionPolicy;
        request.Headers.Remove(Accept);
        request.Headers.TryAddWithoutValidation(Accept, EventStream);
        return _client.SendAsync(request, cancellationToken);
    }

    /// <summary>A response's head came.</summary>
    /// <param name="version">Of HTTP.</param>
    public void OnAnswer(Version version)
    {
        _standby?.OnAnswer();
        if (version.Major < 2)
            Volatile.Write(ref _isConnectionEach, true);
    }

    /// <summary>HTTP/1.1 takes a connection for each stream. An upstream with TLS may choose it.</summary>
    private bool IsConnectionEach => Volatile.Read(ref _isConnectionEach);

    /// <inheritdoc cref="IStreamingBackend.BytesPerStream"/>
    public int BytesPerStream => !IsConnectionEach ? Http2Bytes : _isTls ? Http1TlsBytes : Http1Bytes;

    /// <summary>An address that was parsed before, where it is the same again: it always is.</summary>
    public Uri? Known(Uri? address)
    {
        var known = _known;
        if (known is not null && known.OriginalString == address?.OriginalString)
            return known;
        return _known = address;
    }

    public void Dispose()
    {
        _client.Dispose();
        _standby?.Dispose();
    }

    protected override PipelineMessage CreateMessageCore() => new Message(new UpstreamRequest(this));

    /// <summary>Not reached: the policy before it ends the pipeline.</summary>
    protected override void ProcessCore(PipelineMessage message) => throw new NotSupportedException();

    /// <inheritdoc cref="ProcessCore"/>
    protected override ValueTask ProcessCoreAsync(PipelineMessage message) =>
        throw new NotSupportedException();

    private static Preconnector CreateStandby(OpenAIOptions options)
    {
        var tls = options.InsecureSsl ? TrustAnyone() : new SslClientAuthenticationOptions();
        tls.TargetHost = options.ApiBase.IdnHost;
        tls.ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];
        tls.AllowRenegotiation = false; // RFC 9113, 9.2.1
        return new Preconnector(
            TimeSpan.FromMilliseconds(options.ConnectTimeoutMs), TimeSpan.FromSeconds(30), tls);
    }

    private static SocketsHttpHandler CreateHandler(OpenAIOptions options, Preconnector? standby)
    {
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false, // A redirect would carry key and prompt to a host nobody configured.
            UseCookies = false,
            UseProxy = false, // Only the configured address is contacted, whatever the environment says.
            // A compressor in the path would hold tokens back.
            AutomaticDecompression = DecompressionMethods.None,
            ActivityHeadersPropagator = null,
            ConnectTimeout = TimeSpan.FromMilliseconds(options.ConnectTimeoutMs),
            // Upstreams allow about 100 streams a connection; ten thousand need a hundred connections.
            EnableMultipleHttp2Connections = true,
            MaxConnectionsPerServer = int.MaxValue,
            PooledConnectionIdleTimeout = TimeSpan.FromMinutes(1),
            // A changed DNS record is followed within this time; streams in progress are not cut.
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
            // The protocol's smallest: what one stream whose client is slow can hold in memory at first.
            InitialHttp2StreamWindowSize = 65_535,
            // A peer that vanished without a FIN is found out while streams wait for it.
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            KeepAlivePingDelay = TimeSpan.FromSeconds(30),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
            // Disposing an HTTP/1.1 response must end its connection now, not after reading on for 2 s.
            // What ends well is drained by ResponsePump instead.
            ResponseDrainTimeout = TimeSpan.Zero,
        };
        // The handler puts TLS on top where the scheme asks for it.
        if (options.ApiSocket is { } path)
            handler.ConnectCallback = (_, token) => ApiSocket.ConnectAsync(path, token);
        else if (standby is not null)
            handler.ConnectCallback = (context, token) => standby.ConnectAsync(context.DnsEndPoint, token);
        if (options.InsecureSsl) handler.SslOptions = TrustAnyone();
        return handler;
    }

    [SuppressMessage("Security", "CA5359", Justification = "What OPENAI_INSECURE_SSL asks for.")]
    private static SslClientAuthenticationOptions TrustAnyone() =>
        new() { RemoteCertificateValidationCallback = static (_, _, _, _) => true };

    private sealed class Message(UpstreamRequest request) : PipelineMessage(request)
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

    /// <summary>Carries the request out of the SDK's pipeline, in the place of a response that has not come
    /// yet.</summary>
    private sealed class WrittenResponse(HttpRequestMessage request) : PipelineResponse
    {
        public HttpRequestMessage Request { get; } = request;

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
