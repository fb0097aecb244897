using System.Buffers.Binary;
using System.Net.Sockets;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>Reads a TCP socket's <c>struct tcp_info</c> (&lt;linux/tcp.h&gt;).</summary>
internal static class TcpInfo
{
    private const int IpProtoTcp = 6;
    private const int Option = 11; // TCP_INFO
    private const int Unacked = 24; // tcpi_unacked

    /// <summary>Number of connections in a listener's accept queue. The kernel reports it in tcpi_unacked
    /// (tcp_get_info in Linux).</summary>
    public static int Queued(Socket listener)
    {
        Span<byte> info = stackalloc byte[Unacked + sizeof(uint)];
        return listener.GetRawSocketOption(IpProtoTcp, Option, info) == info.Length
            ? (int)BinaryPrimitives.ReadUInt32LittleEndian(info[Unacked..])
            : 0;
    }
}
