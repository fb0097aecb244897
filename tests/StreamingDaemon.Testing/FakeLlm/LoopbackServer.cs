using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.Testing;

/// <summary>A TCP server on loopback whose connections are served one by one, below any library of HTTP.</summary>
public abstract class LoopbackServer : IAsyncDisposable
{
    private readonly TcpListener _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentBag<Socket> _sockets = [];
    private readonly Task _accepting;

    /// <summary>Listens, on a free port if none is given.</summary>
    protected LoopbackServer(int port = 0)
    {
        _listener = new TcpListener(IPAddress.Loopback, port);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Where it listens.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Cancelled when the server stops.</summary>
    protected CancellationToken Stopping => _stop.Token;

    /// <summary>Serves one connection, which is closed afterwards. It may throw when the client leaves.</summary>
    protected abstract Task ServeAsync(Socket socket, NetworkStream stream);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting;
        foreach (var socket in _sockets)
            socket.Dispose();
        _stop.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Waits for an end that the client or the server's stop causes.</summary>
    protected static async Task UntilClosedAsync(Task work)
    {
        try
        {
            await work;
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
        {
            // The client closed first, or the server stops.
        }
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var socket = await _listener.AcceptSocketAsync(_stop.Token);
                socket.NoDelay = true;
                _sockets.Add(socket);
                _ = UntilClosedAsync(ServeAsync(socket));
            }
            catch (Exception e) when (e is OperationCanceledException or InvalidOperationException or SocketException)
            {
                return;
            }
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using var stream = new NetworkStream(socket, ownsSocket: true);
        await ServeAsync(socket, stream);
    }
}
