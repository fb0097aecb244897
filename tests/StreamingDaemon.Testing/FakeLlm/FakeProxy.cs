using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>An HTTP proxy on loopback: CONNECT, and requests with an absolute address. Every host leads to
/// one server, so that it may have any name.</summary>
public sealed class FakeProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly IPEndPoint _target;
    private readonly int _refusal;
    private readonly string _challenges;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<string> _requestLines = [];
    private readonly ConcurrentQueue<string> _credentials = [];
    private readonly Task _accepting;

    /// <summary>Leads to a server on loopback.</summary>
    /// <param name="port">The server's port.</param>
    /// <param name="refusal">Answers everything with this status; 0 for none. 407 only until a name and a
    /// password come.</param>
    /// <param name="challenges">Header lines of a refusal that say how to authenticate; after
    /// <c>Connection: close</c> it closes.</param>
    public FakeProxy(int port, int refusal = 0, string challenges = "Proxy-Authenticate: Basic realm=\"x\"")
    {
        _challenges = challenges;
        _target = new IPEndPoint(IPAddress.Loopback, port);
        _refusal = refusal;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Its host and port.</summary>
    public string Authority => $"127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";

    /// <summary>First line of what each connection sent.</summary>
    public IReadOnlyCollection<string> RequestLines => _requestLines;

    /// <summary>Names and passwords that came, decoded.</summary>
    public IReadOnlyCollection<string> Credentials => _credentials;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting;
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = ServeAsync(await _listener.AcceptSocketAsync(_stop.Token));
        }
        catch (Exception e) when (e is OperationCanceledException or InvalidOperationException or SocketException)
        {
            // It stops.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        try
        {
            using var client = new NetworkStream(socket, ownsSocket: true);
            while (true)
            {
                var head = await ReadHeadAsync(client);
                _requestLines.Enqueue(head[..head.IndexOf('\r')]);
                if (!IsAllowed(head))
                {
                    await client.WriteAsync(Encoding.ASCII.GetBytes(
                        $"HTTP/1.1 {_refusal} No\r\n{_challenges}\r\nContent-Length: 0\r\n\r\n"), _stop.Token);
                    if (_challenges.Contains("Connection: close", StringComparison.Ordinal))
                        return;
                    await client.ReadExactlyAsync(new byte[BodyLength(head)], _stop.Token);
                    continue;
                }

                await TunnelAsync(client, head);
                return;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
        {
            // One of the two ends closed, or the proxy stops.
        }
    }

    private bool IsAllowed(string head)
    {
        if (Header(head, "Proxy-Authorization: Basic ") is not { } credentials)
            return _refusal == 0;
        _credentials.Enqueue(Encoding.UTF8.GetString(Convert.FromBase64String(credentials)));
        return _refusal is 0 or 407;
    }

    private static int BodyLength(string head) => Header(head, "Content-Length: ") is { } length
        ? int.Parse(length, CultureInfo.InvariantCulture) : 0;

    private static string? Header(string head, string name)
    {
        var at = head.IndexOf("\r\n" + name, StringComparison.OrdinalIgnoreCase);
        if (at < 0)
            return null;
        var value = head[(at + 2 + name.Length)..];
        return value[..value.IndexOf('\r')];
    }

    private async Task TunnelAsync(NetworkStream client, string head)
    {
        using var socket = new Socket(_target.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(_target, _stop.Token);
        using var server = new NetworkStream(socket);
        if (head.StartsWith("CONNECT ", StringComparison.Ordinal))
            await client.WriteAsync("HTTP/1.1 200 OK\r\n\r\n"u8.ToArray(), _stop.Token);
        else
            await server.WriteAsync(Encoding.Latin1.GetBytes(head), _stop.Token);
        await Task.WhenAny(client.CopyToAsync(server, _stop.Token), server.CopyToAsync(client, _stop.Token));
    }

    private async Task<string> ReadHeadAsync(NetworkStream client)
    {
        var head = new StringBuilder();
        var buffer = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            await client.ReadExactlyAsync(buffer, _stop.Token);
            head.Append((char)buffer[0]);
        }

        return head.ToString();
    }
}
