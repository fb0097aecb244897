using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>A TCP socket whose last close waits: it has SO_LINGER, a full send queue, and nobody reads.</summary>
public sealed class LingeringSocket : IDisposable
{
    private const int FarAwaySeconds = 60_000;
    private readonly Socket _browser;

    public LingeringSocket()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        _browser = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        {
            ReceiveBufferSize = 2048,
        };
        _browser.Connect(listener.LocalEndPoint!);
        using var server = listener.Accept();
        server.Blocking = false;
        var bytes = new byte[64 * 1024];
        while (server.Poll(0, SelectMode.SelectWrite))
            _ = server.Send(bytes, SocketFlags.None, out _);
        server.Blocking = true;
        server.LingerState = new LingerOption(true, FarAwaySeconds);
        Fd = Posix.Duplicate((int)server.Handle);
        server.LingerState = new LingerOption(true, FarAwaySeconds);
    }

    public int Fd { get; }

    /// <summary>Closes it here, on another thread: if this is the last close, it waits.</summary>
    public void CloseHere() => new Thread(() => Posix.Close(Fd)) { IsBackground = true }.Start();

    /// <summary>Ends the wait of its close.</summary>
    public void Dispose() => _browser.Dispose();
}
