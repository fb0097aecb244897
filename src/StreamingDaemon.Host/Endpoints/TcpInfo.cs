using System.Buffers.Binary;
using System.Net.Sockets;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>What the kernel tells of a TCP socket: <c>struct tcp_info</c> of &lt;linux/tcp.h&gt;.</summary>
internal static class TcpInfo
{
    private const int IpProtoTcp = 6;
    private const int Option = 11; // TCP_INFO
    private const int Unacked = 24; // tcpi_unacked

    /// <summary>Connections that wait to be accepted: of a listener the kernel counts them as unacknowledged
    /// (tcp_get_info in Linux).</summary>
    public static int Queued(Socket listener)
    {
        Span<byte> info = stackalloc byte[Unacked + sizeof(uint)];
        return listener.GetRawSocketOption(IpProtoTcp, Option, info) == info.Length
            ? (int)BinaryPrimitives.ReadUInt32LittleEndian(info[Unacked..])
            : 0;
    }
}
