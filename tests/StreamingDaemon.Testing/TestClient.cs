using System.Net;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>Hands connections over to a daemon, and reads at the browser's end.</summary>
public static class TestClient
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>Hands one end of a new Unix pair to the daemon and returns the other.</summary>
    public static Socket HandOver(string socketPath, ReadOnlySpan<byte> data, int type = Posix.SockSeqPacket)
    {
        var (ours, theirs) = Posix.SocketPair();
        HandOverDescriptor(socketPath, data, theirs, type);
        _ = Posix.Close(theirs);
        return Posix.ToSocket(ours);
    }

    public static Socket HandOver(string socketPath, string json, int type = Posix.SockSeqPacket) =>
        HandOver(socketPath, Encoding.UTF8.GetBytes(json), type);

    /// <summary>Hands a descriptor over, as the Apache module does; the caller closes its own copy.</summary>
    public static void HandOverDescriptor(string socketPath, ReadOnlySpan<byte> data, int clientFd,
        int type = Posix.SockSeqPacket)
    {
        var connection = Posix.ConnectUnix(socketPath, type);
        try
        {
            ReadOnlySpan<byte> nul = [0];
            _ = Posix.SendDescriptors(connection, data.IsEmpty ? nul : data, clientFd);
        }
        finally
        {
            _ = Posix.Close(connection);
        }
    }

    /// <summary>A TCP connection over loopback: the browser's end and the server's.</summary>
    /// <param name="ipv6">With addresses of IPv6.</param>
    /// <param name="small">With small buffers, from the start: what a peer's kernel has taken once counts as
    /// taken.</param>
    public static (Socket Browser, Socket Server) TcpPair(bool ipv6 = false, bool small = false)
    {
        var address = ipv6 ? IPAddress.IPv6Loopback : IPAddress.Loopback;
        using var listener = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(address, 0));
        listener.Listen(1);
        var browser = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        if (small)
            browser.ReceiveBufferSize = 8192;
        browser.Connect(listener.LocalEndPoint!);
        var server = listener.Accept();
        if (small)
            server.SendBufferSize = 100_000;
        return (browser, server);
    }

    /// <summary>Hands the server's end of a new TCP connection over and returns the browser's.</summary>
    public static Socket HandOverTcp(string socketPath, string json, bool ipv6 = false, bool small = false)
    {
        var (browser, server) = TcpPair(ipv6, small);
        HandOverDescriptor(socketPath, Encoding.UTF8.GetBytes(json), (int)server.Handle);
        server.Dispose();
        return browser;
    }

    /// <summary>Reads until the end of the stream. Throws if the end does not come before the
    /// timeout.</summary>
    public static async Task<byte[]> ReadToEndAsync(Socket socket, TimeSpan? patience = null)
    {
        using var timeout = new CancellationTokenSource(patience ?? Patience);
        using var all = new MemoryStream();
        var buffer = new byte[16 * 1024];
        while (true)
        {
            var read = await socket.ReceiveAsync(buffer, timeout.Token);
            if (read == 0)
                return all.ToArray();
            all.Write(buffer, 0, read);
        }
    }

    public static async Task<string> ReadTextAsync(Socket socket, TimeSpan? patience = null) =>
        Encoding.UTF8.GetString(await ReadToEndAsync(socket, patience));

    /// <summary>Reads until the text has arrived. Returns everything read.</summary>
    public static async Task<string> ReadUntilAsync(Socket socket, string text)
    {
        using var timeout = new CancellationTokenSource(Patience);
        var all = new StringBuilder();
        var buffer = new byte[4096];
        while (!all.ToString().Contains(text, StringComparison.Ordinal))
        {
            var read = await socket.ReceiveAsync(buffer, timeout.Token);
            if (read == 0)
                throw new InvalidOperationException($"the stream ended before '{text}': {all}");
            all.Append(Encoding.UTF8.GetString(buffer, 0, read));
        }

        return all.ToString();
    }
}
