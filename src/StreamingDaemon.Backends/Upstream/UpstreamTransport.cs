using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http;
using System.Net.Security;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>A backend's one connection pool, and the HTTP version that its requests ask for.</summary>
internal sealed class UpstreamTransport : IDisposable
{
    private const string Accept = "Accept";
    private const string EventStream = "text/event-stream";

    // Measured at 3000 streams, at rest and while tokens come, with the kernel's share (docs/operations.md).
    private const int Http2Bytes = 16 * 1024;
    private const int Http1Bytes = 22 * 1024;

    /// <summary>OpenSSL's state and the buffers around it take four fifths of this.</summary>
    private const int Http1TlsBytes = 112 * 1024;

    private readonly HttpMessageInvoker _client;
    private readonly Preconnector? _standby;
    private readonly Version _version;
    private readonly HttpVersionPolicy _versionPolicy;
    private readonly bool _isTls;
    private bool _isConnectionEach;

    public UpstreamTransport(UpstreamOptions options)
    {
        // No HttpClient: its total timeout does not suit streams that live for minutes, which the daemon's
        // watchdogs end. Otherwise it would only add a token source for each request.
        var isTls = _isTls = options.Address.Scheme == Uri.UriSchemeHttps;
        _isConnectionEach = !options.Http2Enabled;
        if (isTls && options is { Http2Enabled: true, SocketPath: null })
            _standby = CreateStandby(options);
        var handler = CreateHandler(options, _standby);
        _client = new HttpMessageInvoker(options.Trace?.Around(handler) ?? handler);
        _version = options.Http2Enabled ? HttpVersion.Version20 : HttpVersion.Version11;
        // Without TLS there is no ALPN to agree on a version: HTTP/2 then needs prior knowledge.
        _versionPolicy = options.Http2Enabled && isTls
            ? HttpVersionPolicy.RequestVersionOrLower
            : HttpVersionPolicy.RequestVersionExact;
    }

    /// <summary>Sends it, with <c>Accept: text/event-stream</c>; returns when the response's head has
    /// arrived.</summary>
    public Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, CancellationToken cancellationToken)
    {
        request.Version = _version;
        request.VersionPolicy = _versionPolicy;
        request.Headers.Remove(Accept);
        request.Headers.TryAddWithoutValidation(Accept, EventStream);
        return _client.SendAsync(request, cancellationToken);
    }

    /// <summary>A response's head arrived.</summary>
    /// <param name="version">The HTTP version.</param>
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

    public void Dispose()
    {
        _client.Dispose();
        _standby?.Dispose();
    }

    private static Preconnector CreateStandby(UpstreamOptions options)
    {
        var tls = options.TrustsAnyCertificate ? TrustAnyone() : new SslClientAuthenticationOptions();
        tls.TargetHost = options.Address.IdnHost;
        tls.ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];
        tls.AllowRenegotiation = false; // RFC 9113, 9.2.1
        return new Preconnector(
            TimeSpan.FromMilliseconds(options.ConnectTimeoutMs), TimeSpan.FromSeconds(30), tls);
    }

    private static SocketsHttpHandler CreateHandler(UpstreamOptions options, Preconnector? standby)
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
            // A changed DNS record takes effect within this time; streams in progress are not cut.
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
            // The protocol's smallest: bounds the memory that one slow client's stream takes at first.
            InitialHttp2StreamWindowSize = 65_535,
            // Detects a peer that vanished without a FIN while streams wait for it.
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            KeepAlivePingDelay = TimeSpan.FromSeconds(30),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
            // Disposing an HTTP/1.1 response must end its connection now, not after 2 s of reading on.
            // ResponsePump drains the bodies that end well.
            ResponseDrainTimeout = TimeSpan.Zero,
        };
        handler.PlaintextStreamFilter = static (context, _) => new ValueTask<Stream>(
            context.NegotiatedHttpVersion.Major == 2
                ? new Http2FloodGuard(context.PlaintextStream)
                : context.PlaintextStream);
        // The handler adds TLS if the scheme asks for it.
        if (options.SocketPath is { } path)
            handler.ConnectCallback = (_, token) => UpstreamSocket.ConnectAsync(path, token);
        else if (standby is not null)
            handler.ConnectCallback = (context, token) => standby.ConnectAsync(context.DnsEndPoint, token);
        if (options.TrustsAnyCertificate)
            handler.SslOptions = TrustAnyone();
        return handler;
    }

    [SuppressMessage("Security", "CA5359", Justification = "What the operator asked for.")]
    private static SslClientAuthenticationOptions TrustAnyone() =>
        new() { RemoteCertificateValidationCallback = static (_, _, _, _) => true };
}
