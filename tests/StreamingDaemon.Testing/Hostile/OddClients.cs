using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>Descriptors that a peer may hand over in place of a client's socket, and states that a good socket
/// may be put into after it was checked.</summary>
internal static class OddClients
{
    // <netinet/tcp.h>, <asm/socket.h>
    private const int IpProtoTcp = 6;
    private const int TcpCork = 3;
    private const int SolSocket = 1;
    private const int SoReceiveLowWater = 18;
    private const int SoBusyPoll = 46;

    /// <summary>What is no client's connected socket. The caller closes them.</summary>
    public static IEnumerable<int> All()
    {
        foreach (var path in (string[])["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/ptmx",
            "/proc/self/mem", "/proc/self/ns/net", "/proc"])
        {
            if (Path.Exists(path))
                yield return Posix.Open(path, 0);
        }

        yield return Posix.MemoryFile("{}"u8.ToArray(), seals: 0);
        var (read, write) = Posix.Pipe();
        yield return read;
        yield return write;
        using var datagram = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        yield return Copy(datagram);
        datagram.Connect(IPAddress.Loopback, 9);
        yield return Copy(datagram);
        using var fresh = NewTcp();
        yield return Copy(fresh);
        fresh.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        fresh.Listen(1);
        yield return Copy(fresh);
        using var itself = NewTcp();
        itself.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        itself.Connect(itself.LocalEndPoint!);
        itself.LingerState = new LingerOption(true, 60_000);
        yield return Copy(itself);
        var (browser, reset) = TestClient.TcpPair();
        browser.LingerState = new LingerOption(true, 0);
        browser.Dispose();
        yield return Copy(reset);
        reset.Dispose();
    }

    /// <summary>Changes a socket that serves a stream, each in another way.</summary>
    public static void Change(Socket browser, Socket server, int which)
    {
        switch (which % 7)
        {
            case 0:
                server.SetRawSocketOption(IpProtoTcp, TcpCork, BitConverter.GetBytes(1));
                break;
            case 1:
                server.SendBufferSize = 1;
                break;
            case 2:
                server.SetRawSocketOption(SolSocket, SoReceiveLowWater, BitConverter.GetBytes(1 << 30));
                browser.Send("x"u8);
                break;
            case 3:
                server.SetRawSocketOption(SolSocket, SoBusyPoll, BitConverter.GetBytes(10_000_000));
                break;
            case 4:
                browser.Send("u"u8, SocketFlags.OutOfBand);
                break;
            case 5:
                server.Blocking = false;
                server.Blocking = true;
                break;
            default:
                server.Shutdown(SocketShutdown.Both);
                break;
        }
    }

    private static Socket NewTcp() => new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

    private static int Copy(Socket socket) => Posix.Duplicate((int)socket.Handle);
}
