using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.Testing;

/// <summary>A TCP relay on loopback whose connections can die without a FIN, as behind a NAT that forgot
/// them: it goes on to hold them and forwards nothing. New connections work.</summary>
public sealed class SilentRelay : IAsyncDisposable
{
    private readonly TcpListener _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentBag<Socket> _sockets = [];
    private readonly Task _accepting;
    private CancellationTokenSource _alive = new();
    private int _connections;

    /// <summary>Relays to a server on loopback.</summary>
    /// <param name="port">The server's.</param>
    /// <param name="address">Where the relay listens; null is loopback.</param>
    public SilentRelay(int port, IPAddress? address = null)
    {
        TargetPort = port;
        _listener = new TcpListener(address ?? IPAddress.Loopback, 0);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>The relay's port.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Where new connections lead.</summary>
    public int TargetPort { get; set; }

    /// <summary>Connections so far.</summary>
    public int Connections => Volatile.Read(ref _connections);

    /// <summary>Forwards nothing more on the connections there are.</summary>
    public async Task FallSilentAsync() =>
        await Interlocked.Exchange(ref _alive, new CancellationTokenSource()).CancelAsync();

    /// <summary>Closes the connections there are.</summary>
    public void CloseAll()
    {
        while (_sockets.TryTake(out var socket))
            socket.Dispose();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await FallSilentAsync();
        _listener.Dispose();
        await _accepting;
        CloseAll();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptSocketAsync(_stop.Token);
                var server = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                _sockets.Add(client);
                _sockets.Add(server);
                await server.ConnectAsync(IPAddress.Loopback, TargetPort, _stop.Token);
                var alive = Volatile.Read(ref _alive).Token;
                Interlocked.Increment(ref _connections);
                _ = ForwardAsync(client, server, alive);
                _ = ForwardAsync(server, client, alive);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or InvalidOperationException or SocketException)
        {
            // The relay, or the server behind it, stops.
        }
    }

    private static async Task ForwardAsync(Socket from, Socket to, CancellationToken alive)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            int count;
            while ((count = await from.ReceiveAsync(buffer, alive)) > 0)
                await to.SendAsync(buffer.AsMemory(0, count), alive);
            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is OperationCanceledException or InvalidOperationException or SocketException)
        {
            // Silent from here on, or ended.
        }
    }
}
