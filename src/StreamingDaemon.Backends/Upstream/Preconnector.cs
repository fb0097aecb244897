using System.Diagnostics;
using System.Net;
using System.Net.Http;
using System.Net.Security;
using System.Net.Sockets;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Opens the next HTTP/2 connection before it is needed. The HTTP client asks for one when all streams of
/// those it has are taken, and whoever comes while it is opened waits for TCP and TLS: two round trips or
/// more. Here one stands ready instead, where connections have been asked for in quick succession, as they
/// are while load rises; a site that one connection is enough for never opens a second.
/// </summary>
/// <remarks>
/// What goes wrong here costs nobody a request: then the client opens its connection itself, and explains
/// what fails.
/// </remarks>
internal sealed class Preconnector : IDisposable
{
    /// <summary>Two connections within this time are followed by a third.</summary>
    private static readonly TimeSpan s_succession = TimeSpan.FromMinutes(1);

    private readonly TimeSpan _connectTimeout;
    private readonly TimeSpan _lifetime;
    private readonly SslClientAuthenticationOptions _tls;
    private readonly Timer _expiry;
    private readonly Lock _gate = new();
    private SslStream? _ready;
    private Socket? _socket;
    private long _lastAsked;
    private bool _isOpening, _isUseless, _isDisposed;
    private volatile bool _hasAnswered;

    /// <param name="connectTimeout">Until it must stand.</param>
    /// <param name="lifetime">Unused for so long, it is closed: servers close what says nothing.</param>
    /// <param name="tls">How the client itself would do it, ALPN included.</param>
    public Preconnector(TimeSpan connectTimeout, TimeSpan lifetime, SslClientAuthenticationOptions tls)
    {
        _connectTimeout = connectTimeout;
        _lifetime = lifetime;
        _tls = tls;
        _expiry = new Timer(static standby => ((Preconnector)standby!).Put(null, null), this,
            Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>One stands ready, and the upstream has not closed it.</summary>
    internal bool IsReady
    {
        get
        {
            lock (_gate)
                return _socket is not null && IsOpen(_socket);
        }
    }

    /// <summary>For <see cref="SocketsHttpHandler.ConnectCallback"/>: the one that stands ready, TLS
    /// included, or a new one without TLS, which the handler then puts on top.</summary>
    /// <exception cref="SocketException">The upstream cannot be reached.</exception>
    public ValueTask<Stream> ConnectAsync(EndPoint upstream, CancellationToken cancellationToken)
    {
        var (ready, opensNext) = Take();
        if (opensNext)
            _ = OpenAsync(upstream);
        return ready is null ? DialAsync(upstream, cancellationToken) : new ValueTask<Stream>(ready);
    }

    /// <summary>The upstream answered a request, so that what was asked for last was no attempt in
    /// vain.</summary>
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

    private static async ValueTask<Stream> DialAsync(
        EndPoint upstream, CancellationToken cancellationToken) =>
        new NetworkStream(await ConnectSocketAsync(upstream, cancellationToken), ownsSocket: true);

    private static async ValueTask<Socket> ConnectSocketAsync(
        EndPoint upstream, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(upstream, cancellationToken);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>False where the upstream has closed it. Readable it is in any case: the tickets of TLS 1.3
    /// and HTTP/2's settings wait there.</summary>
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
            // An upstream that is down is asked for connections too: by each retry.
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
            var socket = await ConnectSocketAsync(upstream, timeout.Token);
            stream = new SslStream(new NetworkStream(socket, ownsSocket: true));
            await stream.AuthenticateAsClientAsync(_tls, timeout.Token);
            // An upstream without HTTP/2 wants a connection for each stream: one ahead is not worth it.
            _isUseless = stream.NegotiatedApplicationProtocol != SslApplicationProtocol.Http2;
            if (!_isUseless)
            {
                Put(stream, socket);
                stream = null;
            }
        }
        catch (Exception e) when (UpstreamFailures.IsUpstreams(e))
        {
            // Who needs a connection finds out for himself.
        }
        finally
        {
            stream?.Dispose();
            lock (_gate)
                _isOpening = false;
        }
    }

    /// <summary>In the place of the one that stood ready, which is closed.</summary>
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
