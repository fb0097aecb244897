using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>Options that the holder of a good socket may set after it was checked.</summary>
internal static class OddOptions
{
    // <netinet/tcp.h>, <asm/socket.h>
    private const int IpProtoTcp = 6;
    private const int TcpCork = 3;
    private const int TcpUserTimeout = 18;
    private const int TcpRepair = 19;
    private const int TcpUpperLayer = 31;
    private const int SolSocket = 1;
    private const int SoReceiveLowWater = 18;
    private const int SoAttachFilter = 26;
    private const int SoTimestamping = 37;
    private const int StampOfAck = 0x200 | 0x10; // SOF_TIMESTAMPING_TX_ACK, _SOFTWARE
    private const int SoPeekOffset = 42;
    private const int SoLockFilter = 44;
    private const int SoBusyPoll = 46;
    private const int SoMaxPacingRate = 47;
    private const int SoIncomingCpu = 49;
    private const int SoZeroCopy = 60;
    private const SocketFlags ZeroCopy = (SocketFlags)0x4000000;

    private static readonly Action<Socket, Socket>[] s_changes =
    [
        (_, server) => Cork(server),
        (_, server) => server.SendBufferSize = 1,
        (browser, server) =>
        {
            Set(server, SolSocket, SoReceiveLowWater, 1 << 30);
            browser.Send("x"u8);
        },
        (_, server) => Set(server, SolSocket, SoBusyPoll, 10_000_000),
        (browser, _) => browser.Send("u"u8, SocketFlags.OutOfBand),
        (_, server) =>
        {
            server.Blocking = false;
            server.Blocking = true;
        },
        (_, server) => server.Shutdown(SocketShutdown.Both),
        (_, server) => server.Shutdown(SocketShutdown.Receive),
        (_, server) => Set(server, SolSocket, SoTimestamping, StampOfAck),
        (_, server) =>
        {
            Set(server, SolSocket, SoZeroCopy, 1);
            server.Send("zero copy"u8, ZeroCopy);
        },
        (browser, server) =>
        {
            DropAll(server);
            Set(server, SolSocket, SoLockFilter, 1);
            browser.Send("x"u8);
        },
        (browser, server) =>
        {
            Set(server, SolSocket, SoPeekOffset, 1);
            browser.Send("x"u8);
        },
        (_, server) => Set(server, SolSocket, SoMaxPacingRate, 1),
        (_, server) => Set(server, SolSocket, SoIncomingCpu, 0),
        (_, server) => Set(server, IpProtoTcp, TcpUserTimeout, 1),
        (_, server) => Set(server, IpProtoTcp, TcpRepair, 1),
        (_, server) => server.SetRawSocketOption(IpProtoTcp, TcpUpperLayer, "tls\0"u8),
    ];

    /// <summary>How many ways there are to change a socket.</summary>
    public static int Count => s_changes.Length;

    /// <summary>Changes a socket that serves a stream, if this kernel and user may.</summary>
    public static void Change(Socket browser, Socket server, int which)
    {
        try
        {
            s_changes[which](browser, server);
        }
        catch (SocketException)
        {
            // No such option here, or not for this user.
        }
    }

    /// <summary>Data waits in the socket until it fills a packet.</summary>
    public static void Cork(Socket socket) => Set(socket, IpProtoTcp, TcpCork, 1);

    /// <summary>A filter that drops every packet, also the client's acknowledgements.</summary>
    private static void DropAll(Socket server)
    {
        // struct sock_filter { u16 code; u8 jt, jf; u32 k; }: BPF_RET | BPF_K, 0.
        var filter = Marshal.AllocHGlobal(8);
        Marshal.WriteInt64(filter, 6);
        // struct sock_fprog { u16 length; struct sock_filter *filter; }
        var program = new byte[16];
        program[0] = 1;
        BitConverter.TryWriteBytes(program.AsSpan(8), filter);
        try
        {
            server.SetRawSocketOption(SolSocket, SoAttachFilter, program);
        }
        finally
        {
            Marshal.FreeHGlobal(filter);
        }
    }

    private static void Set(Socket socket, int level, int option, int value) =>
        socket.SetRawSocketOption(level, option, BitConverter.GetBytes(value));
}
