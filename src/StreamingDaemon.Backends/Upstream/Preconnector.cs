using System.Diagnostics;
using System.Net;
using System.Net.Http;
using System.Net.Security;
using System.Net.Sockets;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Opens the next HTTP/2 connection before it is needed. The HTTP client asks for one when its connections
/// have no free streams, and every request that comes while it opens waits for TCP and TLS: two round trips
/// or more. This class keeps one ready instead, if connections were asked for in quick succession, as they
/// are while load rises. A site that needs only one connection never opens a second.
/// </summary>
/// <remarks>
/// A failure here costs no request: the client then opens its connection itself, and reports what fails.
/// </remarks>
internal sealed class Preconnector : IDisposable
{
    /// <summary>Two connections within this time cause a third.</summary>
    private static readonly TimeSpan s_succession = TimeSpan.FromMinutes(1);

    private readonly TimeSpan _connectTimeout;
    private readonly TimeSpan _lifetime;
    private readonly Dialer _dialer;
    private readonly SslClientAuthenticationOptions _tls;
    private readonly Timer _expiry;
    private readonly Lock _gate = new();
    private SslStream? _ready;
    private Socket? _socket;
    private long _lastAsked;
    private bool _isOpening, _isUseless, _isDisposed;
    private volatile bool _hasAnswered;

    /// <param name="connectTimeout">Time limit for the connection.</param>
    /// <param name="lifetime">It is closed after this long unused, because servers close silent
    /// connections.</param>
    /// <param name="tls">The client's own TLS options, ALPN included.</param>
    /// <param name="dialer">Opens the TCP connections; null for one of its own.</param>
    public Preconnector(TimeSpan connectTimeout, TimeSpan lifetime, SslClientAuthenticationOptions tls,
        Dialer? dialer = null)
    {
        _dialer = dialer ?? new Dialer();
        _connectTimeout = connectTimeout;
        _lifetime = lifetime;
        _tls = tls;
        _expiry = new Timer(static standby => ((Preconnector)standby!).Put(null, null), this,
            Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>A connection is ready, and the upstream has not closed it.</summary>
    internal bool IsReady
    {
        get
        {
            lock (_gate)
                return _socket is not null && IsOpen(_socket);
        }
    }

    /// <summary>For <see cref="SocketsHttpHandler.ConnectCallback"/>: the ready connection, TLS included, or
    /// a new one without TLS, which the handler then adds.</summary>
    /// <exception cref="SocketException">The upstream cannot be reached.</exception>
    public ValueTask<Stream> ConnectAsync(EndPoint upstream, CancellationToken cancellationToken)
    {
        var (ready, opensNext) = Take();
        if (opensNext)
            _ = OpenAsync(upstream);
        return ready is null ? DialAsync(upstream, cancellationToken) : new ValueTask<Stream>(ready);
    }

    /// <summary>The upstream answered a request, so the last connection was not asked for in vain.</summary>
    public void OnAnswer()
    {
        if (!_hasAnswered)
            _hasAnswered = true;
    }

    public void Dispose()
    {
        lock (_gate)
            _isDisposed = true;
        Put(null, null);
        _expiry.Dispose();
    }

    private async ValueTask<Stream> DialAsync(EndPoint upstream, CancellationToken cancellationToken) =>
        new NetworkStream(await _dialer.ConnectAsync(upstream, cancellationToken), ownsSocket: true);

    /// <summary>False if the upstream has closed it. The socket is readable in any case: TLS 1.3 tickets and
    /// HTTP/2's settings wait there.</summary>
    private static bool IsOpen(Socket socket)
    {
        // tcp(7), <linux/tcp.h>: tcpi_state is the first byte.
        const int ipProtoTcp = 6, tcpInfo = 11, established = 1;
        Span<byte> state = stackalloc byte[1];
        try
        {
            return socket.GetRawSocketOption(ipProtoTcp, tcpInfo, state) == 1 && state[0] == established;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private (SslStream? Ready, bool OpensNext) Take()
    {
        lock (_gate)
        {
            var now = Stopwatch.GetTimestamp();
            // Retries also ask for connections while an upstream is down.
            var isRising = _hasAnswered && Stopwatch.GetElapsedTime(_lastAsked, now) < s_succession;
            _lastAsked = now;
            _hasAnswered = false;
            var (ready, socket) = (_ready, _socket);
            (_ready, _socket) = (null, null);
            if (ready is not null && !IsOpen(socket!))
            {
                ready.Dispose();
                ready = null;
            }

            var opensNext = isRising && !_isOpening && !_isUseless && !_isDisposed;
            _isOpening |= opensNext;
            return (ready, opensNext);
        }
    }

    private async Task OpenAsync(EndPoint upstream)
    {
        SslStream? stream = null;
        try
        {
            using var timeout = new CancellationTokenSource(_connectTimeout);
            var socket = await _dialer.ConnectAsync(upstream, timeout.Token);
            stream = new SslStream(new NetworkStream(socket, ownsSocket: true));
            await stream.AuthenticateAsClientAsync(_tls, timeout.Token);
            // An upstream without HTTP/2 needs a connection for each stream: one ahead does not help.
            _isUseless = stream.NegotiatedApplicationProtocol != SslApplicationProtocol.Http2;
            if (!_isUseless)
            {
                Put(stream, socket);
                stream = null;
            }
        }
        catch (Exception e) when (UpstreamFailures.IsUpstreams(e))
        {
            // The request that needs a connection finds the fault itself.
        }
        finally
        {
            stream?.Dispose();
            lock (_gate)
                _isOpening = false;
        }
    }

    /// <summary>Replaces the ready connection, which is closed.</summary>
    private void Put(SslStream? ready, Socket? socket)
    {
        lock (_gate)
        {
            _ready?.Dispose();
            (_ready, _socket) = (null, null);
            if (_isDisposed)
            {
                ready?.Dispose();
                return;
            }

            (_ready, _socket) = (ready, socket);
            if (ready is not null)
                _expiry.Change(_lifetime, Timeout.InfiniteTimeSpan);
        }
    }
}
