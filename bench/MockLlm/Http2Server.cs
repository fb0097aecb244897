using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace StreamingDaemon.MockLlm;

/// <summary>
/// Serves HTTP/2 straight from the wheel: its thread writes the due pieces of all streams of a connection at
/// once. A server for all of HTTP takes longer for a chunk than the daemon under measurement.
/// </summary>
internal sealed class Http2Server : IDisposable
{
    private const int SendBufferBytes = 1 << 20;

    private readonly MockLlmOptions _options;
    private readonly Answers _answers;
    private readonly Socket _listener;
    private readonly SslServerAuthenticationOptions? _tls;
    private readonly List<Http2Connection> _touched = [];

    /// <param name="options">Where and how to listen.</param>
    /// <param name="answers">The answers and their timing.</param>
    /// <param name="certificate">For TLS, or null.</param>
    public Http2Server(MockLlmOptions options, Answers answers, X509Certificate2? certificate)
    {
        _options = options;
        _answers = answers;
        _listener = options.Socket is null
            ? new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
            : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _answers.Wheel.Turned = FlushTouched;
        _tls = certificate is null ? null : new SslServerAuthenticationOptions
        {
            ServerCertificateContext = SslStreamCertificateContext.Create(certificate, null),
            ApplicationProtocols = [SslApplicationProtocol.Http2],
        };
    }

    public int Port => ((IPEndPoint)_listener.LocalEndPoint!).Port;

    public void Start()
    {
        if (_options.Socket is { } path)
        {
            _listener.Bind(new UnixDomainSocketEndPoint(path));
        }
        else
        {
            _listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            _listener.Bind(new IPEndPoint(IPAddress.Loopback, _options.Port));
        }

        _listener.Listen(512);
        _ = AcceptAsync();
    }

    public void Dispose() => _listener.Dispose();

    /// <summary>Schedules a write for the end of the wheel's turn; on its thread.</summary>
    internal void Touch(Http2Connection connection) => _touched.Add(connection);

    private void FlushTouched()
    {
        foreach (var connection in _touched)
            connection.Flush();
        _touched.Clear();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = ServeAsync(await _listener.AcceptAsync());
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        if (_options.Socket is null)
            socket.NoDelay = true;
        socket.SendBufferSize = SendBufferBytes;
        Stream wire = new NetworkStream(socket, ownsSocket: true);
        try
        {
            if (_tls is not null)
            {
                var secure = new SslStream(wire);
                wire = secure;
                await secure.AuthenticateAsServerAsync(_tls);
            }

            await new Http2Connection(this, _answers, wire, _options.MaxStreams).RunAsync();
        }
        catch (Exception e) when (e is IOException or InvalidDataException or AuthenticationException
            or ObjectDisposedException)
        {
            // The client left, or speaks another protocol.
        }
        finally
        {
            await wire.DisposeAsync();
        }
    }
}
