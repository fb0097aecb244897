using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.ChatPageTests;

/// <summary>The network between browser and site: it can be cut, and is whole again when the test says so.
/// </summary>
internal sealed class CuttingRelay : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly List<Socket> _ends = [];
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Uri _behind;
    private readonly Task _accepting;
    private bool _isCut;
    private int _hung;
    private int _pieces;

    public CuttingRelay(string behind)
    {
        _behind = new Uri(behind);
        _listener.Start();
        Url = new UriBuilder(behind) { Port = ((IPEndPoint)_listener.LocalEndpoint).Port }.ToString();
        _accepting = AcceptAsync();
    }

    /// <summary>The site's address, by way of here.</summary>
    public string Url { get; }

    /// <summary>Resets every connection; from now on each new one is reset too.</summary>
    public void Cut()
    {
        lock (_gate)
        {
            _isCut = true;
            foreach (var end in _ends)
                end.Close(0);
            _ends.Clear();
            _hung = 0;
        }
    }

    /// <summary>Pieces that the browser got so far.</summary>
    public int Pieces => Volatile.Read(ref _pieces);

    /// <summary>Every connection stays open and brings nothing any more; new ones work.</summary>
    public void Hang()
    {
        lock (_gate)
            _hung = _ends.Count;
    }

    public void Restore()
    {
        lock (_gate)
            _isCut = false;
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        Cut();
        await _accepting;
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                Relay(await _listener.AcceptSocketAsync());
        }
        catch (Exception e) when (e is SocketException or InvalidOperationException)
        {
            // Stopped.
        }
    }

    private void Relay(Socket browser)
    {
        lock (_gate)
        {
            if (_isCut)
            {
                browser.Close(0);
                return;
            }

            var site = new Socket(SocketType.Stream, ProtocolType.Tcp);
            site.Connect(IPAddress.Loopback, _behind.Port);
            var number = _ends.Count;
            _ends.AddRange([browser, site]);
            _ = PumpAsync(browser, site, number, isToBrowser: false);
            _ = PumpAsync(site, browser, number, isToBrowser: true);
        }
    }

    private async Task PumpAsync(Socket from, Socket to, int number, bool isToBrowser)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            int read;
            while ((read = await from.ReceiveAsync(buffer)) > 0)
            {
                if (number < Volatile.Read(ref _hung))
                    continue;
                await to.SendAsync(buffer.AsMemory(0, read));
                if (isToBrowser)
                    Interlocked.Increment(ref _pieces);
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or InvalidOperationException)
        {
            // Cut, or one end left: so does the other.
            to.Dispose();
        }
    }
}
