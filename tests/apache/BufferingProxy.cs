using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.ApacheTests;

/// <summary>Stands in front of httpd, and passes an answer on when it has all of it.</summary>
internal sealed class BufferingProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Task _serving;

    private BufferingProxy(int behind)
    {
        _listener.Start();
        _serving = ServeAsync(behind);
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public static Task<BufferingProxy> StartAsync(int behind) => Task.FromResult(new BufferingProxy(behind));

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        await _serving;
    }

    private async Task ServeAsync(int behind)
    {
        try
        {
            while (true)
            {
                using var browser = await _listener.AcceptTcpClientAsync();
                await RelayAsync(browser, behind);
            }
        }
        catch (Exception e) when (e is SocketException or InvalidOperationException or OperationCanceledException)
        {
            // The listener was stopped.
        }
    }

    private static async Task RelayAsync(TcpClient browser, int behind)
    {
        try
        {
            using var httpd = new TcpClient();
            await httpd.ConnectAsync(IPAddress.Loopback, behind);
            var buffer = new byte[64 * 1024];
            int count = await browser.GetStream().ReadAsync(buffer);
            string request = System.Text.Encoding.ASCII.GetString(buffer, 0, count)
                .Replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", StringComparison.Ordinal);
            await httpd.GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes(request));
            using var answer = new MemoryStream();
            await httpd.GetStream().CopyToAsync(answer);
            await browser.GetStream().WriteAsync(answer.ToArray());
        }
        catch (IOException)
        {
            // One of the two has left; the next browser is served.
        }
    }
}
