using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>Descriptors that a peer may hand over in place of a client's socket.</summary>
internal static class OddClients
{
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
        foreach (var fd in OfOtherFamilies())
            yield return fd;
        foreach (var fd in KernelObjects.All())
            yield return fd;
    }

    /// <summary>Sockets of families and protocols that are no clients'; not every kernel has each.</summary>
    private static IEnumerable<int> OfOtherFamilies()
    {
        const int Stream = 1, Datagram = 2, Raw = 3, SequencedPackets = 5;
        foreach (var (family, type, protocol) in ((int, int, int)[])[
            (2, Stream, 132), (2, Raw, 255), (16, Raw, 0), (17, Raw, 0), (30, Stream, 0), (38, SequencedPackets, 0),
            (40, Stream, 0), (43, Stream, 0), (44, Raw, 0), (2, Stream, 262), (1, SequencedPackets, 0),
            (1, Datagram, 0)])
        {
            if (Posix.TryNewSocket(family, type, protocol) is >= 0 and var fd)
                yield return fd;
        }
    }

    private static Socket NewTcp() => new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

    private static int Copy(Socket socket) => Posix.Duplicate((int)socket.Handle);
}
