using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Another server where a command expects the daemon. It answers each connection with a test's text,
/// and may repeat a part of it for ever.</summary>
internal sealed class Stranger : IDisposable
{
    private readonly Socket _listener;
    private readonly Thread _thread;
    private readonly List<Socket> _held = [];

    private Stranger(Socket listener, EndPoint endPoint, string first, string repeated, int pauseMs, bool holds)
    {
        _listener = listener;
        _listener.Bind(endPoint);
        _listener.Listen();
        _thread = new Thread(() => Run(first, repeated, pauseMs, holds)) { IsBackground = true };
        _thread.Start();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndPoint!).Port;

    public string Path => ((UnixDomainSocketEndPoint)_listener.LocalEndPoint!).ToString();

    /// <summary>Listens on a TCP port.</summary>
    public static Stranger OnPort(string first, string repeated = "", int pauseMs = 0, bool holds = false) => new(
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp),
        new IPEndPoint(IPAddress.Loopback, 0), first, repeated, pauseMs, holds);

    /// <summary>Listens on a Unix socket, and answers the clients that are handed over.</summary>
    public static Stranger OnPath(TempDirectory directory, string first, string repeated = "", int pauseMs = 0,
        bool holds = false, SocketType type = SocketType.Seqpacket) => new(
        new Socket(AddressFamily.Unix, type, ProtocolType.Unspecified),
        new UnixDomainSocketEndPoint(directory.File("stranger")), first, repeated, pauseMs, holds);

    public void Dispose()
    {
        _listener.Dispose();
        lock (_held)
            _held.ForEach(s => s.Dispose());
    }

    private void Run(string first, string repeated, int pauseMs, bool holds)
    {
        try
        {
            while (true)
            {
                var peer = _listener.Accept();
                lock (_held)
                    _held.Add(peer);
                new Thread(() => Answer(peer, first, repeated, pauseMs, holds)) { IsBackground = true }.Start();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private static void Answer(Socket peer, string first, string repeated, int pauseMs, bool holds)
    {
        try
        {
            var client = peer;
            if (peer.AddressFamily == AddressFamily.Unix)
                client = Posix.ToSocket(Posix.ReceiveDescriptor((int)peer.Handle));
            client.Send(Encoding.Latin1.GetBytes(first));
            var bytes = Encoding.Latin1.GetBytes(repeated);
            while (bytes.Length > 0)
            {
                client.Send(bytes);
                Thread.Sleep(pauseMs);
            }

            if (holds)
                return;
            client.Shutdown(SocketShutdown.Send);
            // Read the rest first: closing with unread data would reset the connection, and lose the answer.
            var rest = new byte[4096];
            while (client.Receive(rest) > 0)
            {
            }

            client.Dispose();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or PosixException)
        {
            // The command has closed the connection.
        }
    }
}
