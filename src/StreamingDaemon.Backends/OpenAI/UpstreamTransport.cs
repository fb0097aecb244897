using System.ClientModel.Primitives;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Net.Security;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The one connection pool of a backend, and which HTTP version its requests ask for.</summary>
internal sealed class UpstreamTransport : HttpClientPipelineTransport
{
    private static readonly MediaTypeWithQualityHeaderValue s_eventStream = new("text/event-stream");

    private readonly HttpClient _client;
    private readonly Version _version;
    private readonly HttpVersionPolicy _versionPolicy;

    private UpstreamTransport(HttpClient client, OpenAIOptions options)
        : base(client)
    {
        _client = client;
        var isTls = options.ApiBase.Scheme == Uri.UriSchemeHttps;
        _version = options.Http2Enabled ? HttpVersion.Version20 : HttpVersion.Version11;
        // Without TLS there is no ALPN to agree on a version: HTTP/2 is then prior knowledge, or nothing.
        _versionPolicy = options.Http2Enabled && isTls
            ? HttpVersionPolicy.RequestVersionOrLower
            : HttpVersionPolicy.RequestVersionExact;
    }

    [SuppressMessage("Reliability", "CA2000", Justification = "Owned by the transport, disposed with it.")]
    public static UpstreamTransport Create(OpenAIOptions options)
    {
        // Streams live for minutes; the daemon's watchdogs end them, not a total time of the client's.
        var client = new HttpClient(CreateHandler(options)) { Timeout = Timeout.InfiniteTimeSpan };
        return new UpstreamTransport(client, options);
    }

    /// <remarks>
    /// The Accept header is set here, below the SDK's pipeline. Where the pipeline itself sees
    /// <c>text/event-stream</c> (System.ClientModel 1.16 and later), it keeps a copy of the body, follows
    /// redirects, buffers each event without limit, and after a broken stream sends the prompt again.
    /// </remarks>
    protected override void OnSendingRequest(PipelineMessage message, HttpRequestMessage httpRequest)
    {
        httpRequest.Version = _version;
        httpRequest.VersionPolicy = _versionPolicy;
        httpRequest.Headers.Accept.Clear();
        httpRequest.Headers.Accept.Add(s_eventStream);
    }

    protected override void Dispose(bool disposing)
    {
        // The base class leaves a client that was passed in to its owner: us.
        if (disposing) _client.Dispose();
        base.Dispose(disposing);
    }

    private static SocketsHttpHandler CreateHandler(OpenAIOptions options)
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
            // What ends well is drained by ResponseDrain instead.
            ResponseDrainTimeout = TimeSpan.Zero,
        };
        // The handler puts TLS on top where the scheme asks for it.
        if (options.ApiSocket is { } path)
            handler.ConnectCallback = (_, token) => ApiSocket.ConnectAsync(path, token);
        if (options.InsecureSsl) handler.SslOptions = TrustAnyone();
        return handler;
    }

    [SuppressMessage("Security", "CA5359", Justification = "What OPENAI_INSECURE_SSL asks for.")]
    private static SslClientAuthenticationOptions TrustAnyone() =>
        new() { RemoteCertificateValidationCallback = static (_, _, _, _) => true };
}
