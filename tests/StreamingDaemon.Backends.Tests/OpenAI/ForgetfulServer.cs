using System.Net;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>An HTTP/1.1 upstream that keeps nothing of a request, not even in a pool. It reads to the end of
/// the JSON, begins an answer, and sends nothing more.</summary>
internal sealed class ForgetfulServer : IAsyncDisposable
{
    private static readonly byte[] s_answer = Encoding.ASCII.GetBytes(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        + "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"first\"},\"finish_reason\":null}]}\n\n");

    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly List<Socket> _connections = [];
    private readonly Task _accepting;

    public ForgetfulServer()
    {
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen(4096);
        _accepting = AcceptAsync();
    }

    public Uri BaseAddress => new($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndPoint!).Port}/v1");

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _accepting;
        foreach (var connection in _connections)
            connection.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var connection = await _listener.AcceptAsync();
                _connections.Add(connection);
                _ = AnswerAsync(connection);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private static async Task AnswerAsync(Socket connection)
    {
        var buffer = new byte[1024];
        int read;
        do
        {
            read = await connection.ReceiveAsync(buffer);
        }
        while (read > 0 && !Encoding.ASCII.GetString(buffer, 0, read).EndsWith("\"stream\":true}", StringComparison.Ordinal));
        await connection.SendAsync(s_answer);
    }
}
