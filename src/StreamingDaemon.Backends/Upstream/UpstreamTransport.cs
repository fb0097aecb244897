using System.Net;
using System.Net.Http;
using System.Net.Security;
using System.Net.Sockets;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>A backend's one connection pool, and the HTTP version that its requests ask for.</summary>
internal sealed class UpstreamTransport : IDisposable
{
    /// <summary>Longest head of a response. The connection keeps a buffer for its longest line.</summary>
    private const int MaxHeadKib = 32;

    /// <summary>What an HTTP/2 stream may receive before it is read.</summary>
    public const int Http2WindowBytes = 65_535;

    private const string Accept = "Accept";
    private const string EventStream = "text/event-stream";

    // Measured at 3000 streams, at rest and while tokens come, with the kernel's share (docs/operations.md).
    private const int Http2Bytes = 16 * 1024;
    private const int Http1Bytes = 22 * 1024;

    /// <summary>OpenSSL's state and the buffers around it take four fifths of this.</summary>
    private const int Http1TlsBytes = 112 * 1024;

    /// <summary>How long HTTP/1.1 is used after a server asked for it, ms: as long as its connections
    /// live.</summary>
    private const int Http11ForMs = 10 * 60 * 1000;

    private readonly UpstreamOptions _options;
    private readonly Dialer _dialer;
    private readonly UpstreamProxy? _proxy;
    private readonly bool _hasStandby;
    private readonly HttpVersionProbe? _probe;
    private readonly Version _version;
    private readonly HttpVersionPolicy _versionPolicy;
    private readonly bool _isTls;
    private long _http11Until;
    private bool _isConnectionEach;
    private readonly Http2Streams _streams = new();
    private UpstreamTlsFiles _files;
    private volatile Pool _pool;

    /// <exception cref="UpstreamTlsException">A certificate's file cannot be used.</exception>
    public UpstreamTransport(UpstreamOptions options)
    {
        // No HttpClient: its total timeout does not suit streams that live for minutes, which the daemon's
        // watchdogs end. Otherwise it would only add a token source for each request.
        _options = options;
        var isTls = _isTls = options.Address.Scheme == Uri.UriSchemeHttps;
        var proxy = _proxy = options.SocketPath is null ? options.Proxy : null;
        var dialer = _dialer = new Dialer(options.Resolve);
        // A proxy for http speaks HTTP/1.1.
        var isHttp2 = options.Http2Enabled ?? (isTls || proxy is null);
        if (options.Http2Enabled is null && isHttp2 && !isTls)
            _probe = CreateProbe(options, dialer);
        _isConnectionEach = !isHttp2 || _probe is not null;
        // A connection opened ahead would bypass the proxy.
        _hasStandby = isTls && isHttp2 && options.SocketPath is null && proxy is null;
        _files = options.TlsFiles;
        _pool = CreatePool(_files);
        _version = isHttp2 ? HttpVersion.Version20 : HttpVersion.Version11;
        // Without TLS there is no ALPN to agree on a version: HTTP/2 then needs prior knowledge.
        _versionPolicy = isHttp2 && isTls
            ? HttpVersionPolicy.RequestVersionOrLower
            : HttpVersionPolicy.RequestVersionExact;
    }

    /// <summary>Uses other certificates for the connections from now on. Not at the same time from two
    /// threads.</summary>
    /// <exception cref="UpstreamTlsException">A file cannot be used; nothing has changed.</exception>
    public void Renew(UpstreamTlsFiles files)
    {
        if (files == _files)
            return;
        var pool = CreatePool(files);
        _files = files;
        // The old client is not disposed: its streams go on. Its connections close a minute after the last.
        var old = _pool;
        _pool = pool;
        old.Standby?.Dispose();
    }

    /// <inheritdoc cref="UpstreamTls.ClientProblem"/>
    public string? ClientProblem => _pool.Tls.ClientProblem(DateTimeOffset.UtcNow);

    /// <summary>The upstream has sent HTTP/2's SETTINGS.</summary>
    public bool SpeaksHttp2 => _streams.IsGreeted;

    /// <summary>The upstream's last connection allowed no stream at first.</summary>
    public bool AllowsNoStream => _streams.IsNone;

    /// <summary>Sends it, with <c>Accept: text/event-stream</c>; returns when the response's head has
    /// arrived.</summary>
    public Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var version = _probe is not null ? _probe.Known
            : Environment.TickCount64 < Volatile.Read(ref _http11Until) ? HttpVersion.Version11 : _version;
        return version is null
            ? SendAfterProbeAsync(request, cancellationToken)
            : SendAsync(request, version, cancellationToken);
    }

    /// <summary>A response's head arrived.</summary>
    /// <param name="version">The HTTP version.</param>
    /// <param name="status">Its status.</param>
    /// <returns>True if another HTTP version may do, and the next request tries it.</returns>
    public bool OnAnswer(Version version, int status)
    {
        _pool.Standby?.OnAnswer();
        if (version.Major < 2)
            Volatile.Write(ref _isConnectionEach, true);
        else if (_probe is not null)
            Volatile.Write(ref _isConnectionEach, false);
        return _probe?.OnAnswer(status) ?? false;
    }

    /// <summary>A request brought no response head.</summary>
    /// <returns>True if the next request goes another way, which may do: it tries another HTTP version, or
    /// waits until the upstream allows a stream.</returns>
    public bool OnFailure(Exception exception)
    {
        if (UpstreamFailures.MayLackStream(exception))
        {
            if (_streams.IsLow)
                return true;
            if (_streams.WantsHttp11)
                exception = new HttpProtocolException(UpstreamFailures.Http11Required, "", exception);
        }

        if (_probe is not null)
            return _probe.OnFailure(exception);
        if (!_isTls || _options.Http2Enabled is not null || !UpstreamFailures.IsHttp11Required(exception))
            return false;
        // ALPN chose HTTP/2, but not every server behind the address has it. The client does not fall back.
        Volatile.Write(ref _http11Until, Environment.TickCount64 + Http11ForMs);
        return true;
    }

    private Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, Version version, CancellationToken cancellationToken)
    {
        request.Version = version;
        request.VersionPolicy = _versionPolicy;
        request.Headers.Remove(Accept);
        request.Headers.TryAddWithoutValidation(Accept, EventStream);
        return _pool.Client.SendAsync(request, cancellationToken);
    }

    private async Task<HttpResponseMessage> SendAfterProbeAsync(
        HttpRequestMessage request, CancellationToken cancellationToken) =>
        await SendAsync(request, await _probe!.FindAsync(cancellationToken), cancellationToken);

    /// <summary>HTTP/1.1 takes a connection for each stream. An upstream with TLS may choose it.</summary>
    private bool IsConnectionEach => Volatile.Read(ref _isConnectionEach);

    /// <inheritdoc cref="IStreamingBackend.BytesPerStream"/>
    public int BytesPerStream => !IsConnectionEach ? Http2Bytes : _isTls ? Http1TlsBytes : Http1Bytes;

    public void Dispose()
    {
        _pool.Client.Dispose();
        _pool.Standby?.Dispose();
    }

    private Pool CreatePool(UpstreamTlsFiles files)
    {
        var tls = new UpstreamTls(files, _options.TrustsAnyCertificate);
        var standby = _hasStandby ? CreateStandby(_options, tls, _dialer) : null;
        var handler = CreateHandler(
            _options, _proxy, tls, _dialer, standby, _streams);
        return new Pool(new HttpMessageInvoker(_options.Trace?.Around(handler) ?? handler), standby, tls);
    }

    private static Preconnector CreateStandby(UpstreamOptions options, UpstreamTls tls, Dialer dialer)
    {
        var standby = tls.CreateOptions();
        standby.TargetHost = options.Address.IdnHost;
        standby.ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];
        standby.AllowRenegotiation = false; // RFC 9113, 9.2.1
        return new Preconnector(TimeSpan.FromMilliseconds(options.ConnectTimeoutMs), TimeSpan.FromSeconds(30),
            standby, dialer);
    }

    private static HttpVersionProbe CreateProbe(UpstreamOptions options, Dialer dialer)
    {
        var host = new DnsEndPoint(options.Address.IdnHost, options.Address.Port);
        return new HttpVersionProbe(
            options.SocketPath is { } path
                ? token => UpstreamSocket.ConnectAsync(path, token)
                : token => DialAsync(dialer, host, token),
            TimeSpan.FromMilliseconds(options.ConnectTimeoutMs));
    }

    private static SocketsHttpHandler CreateHandler(UpstreamOptions options, UpstreamProxy? proxy,
        UpstreamTls tls, Dialer dialer, Preconnector? standby, Http2Streams streams)
    {
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false, // A redirect would carry key and prompt to a host nobody configured.
            UseCookies = false,
            // The environment's proxy for this address, read once; not the framework's, which also sends
            // loopback through it.
            UseProxy = proxy is not null,
            Proxy = proxy,
            // A compressor in the path would hold tokens back.
            AutomaticDecompression = DecompressionMethods.None,
            ActivityHeadersPropagator = null,
            MaxResponseHeadersLength = MaxHeadKib,
            ConnectTimeout = TimeSpan.FromMilliseconds(options.ConnectTimeoutMs),
            // Upstreams allow about 100 streams a connection; ten thousand need a hundred connections.
            EnableMultipleHttp2Connections = true,
            MaxConnectionsPerServer = int.MaxValue,
            PooledConnectionIdleTimeout = TimeSpan.FromMinutes(1),
            // A changed DNS record takes effect within this time; streams in progress are not cut.
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
            // The protocol's smallest: bounds the memory that one slow client's stream takes. The program
            // turns off what makes it grow (StreamingDaemon.Host.csproj).
            InitialHttp2StreamWindowSize = Http2WindowBytes,
            // Detects a connection that died without a FIN: silent for a second, then no answer to a ping.
            // The client looks once a second, so that it takes 4 s, and 5 s if something came just before.
            // Even without streams: the next one must not get a connection that died while it was idle.
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.Always,
            KeepAlivePingDelay = TimeSpan.FromSeconds(1),
            KeepAlivePingTimeout = TimeSpan.FromMilliseconds(2_500),
            // Disposing an HTTP/1.1 response must end its connection now, not after 2 s of reading on.
            // ResponsePump drains the bodies that end well.
            ResponseDrainTimeout = TimeSpan.Zero,
        };
        handler.PlaintextStreamFilter = (context, _) => new ValueTask<Stream>(
            context.NegotiatedHttpVersion.Major == 2
                ? new Http2Guard(context.PlaintextStream, streams)
                : context.PlaintextStream);
        // The handler adds TLS if the scheme asks for it.
        if (options.SocketPath is { } path)
            handler.ConnectCallback = (_, token) => UpstreamSocket.ConnectAsync(path, token);
        else
            handler.ConnectCallback = (context, token) => ConnectAsync(context, standby, dialer, token);
        handler.SslOptions = tls.CreateOptions();
        return handler;
    }

    /// <summary>A connection that was opened ahead is for HTTP/2 only.</summary>
    private static ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, Preconnector? standby,
        Dialer dialer, CancellationToken cancellationToken) =>
        standby is not null && context.InitialRequestMessage.Version.Major >= 2
            ? standby.ConnectAsync(context.DnsEndPoint, cancellationToken)
            : DialAsync(dialer, context.DnsEndPoint, cancellationToken);

    private static async ValueTask<Stream> DialAsync(
        Dialer dialer, DnsEndPoint host, CancellationToken cancellationToken) =>
        new NetworkStream(await dialer.ConnectAsync(host, cancellationToken), ownsSocket: true);

    /// <summary>Connections with the same certificates.</summary>
    private sealed record Pool(HttpMessageInvoker Client, Preconnector? Standby, UpstreamTls Tls);
}
