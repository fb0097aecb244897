using System.Buffers.Binary;

namespace StreamingDaemon.Bench.Interop;

/// <summary>Makes connections as Apache holds them: the browser's end, and the end that is handed
/// over.</summary>
internal interface IClientPairs : IDisposable
{
    /// <exception cref="SystemCallException">No descriptors or ports are left.</exception>
    (int Browser, int Server) Create();

    static IClientPairs For(bool tcp) => tcp ? new TcpPairs() : new UnixPairs();
}

/// <summary>Unix pairs: the cheapest sockets, so that the daemon's own cost shows.</summary>
internal sealed unsafe class UnixPairs : IClientPairs
{
    public (int Browser, int Server) Create()
    {
        var pair = stackalloc int[2];
        Native.Check(Native.SocketPair(Native.AfUnix, Native.SockStream | Native.CloseOnExec
            | Native.NonBlocking, 0, pair), "socketpair");
        return (pair[0], pair[1]);
    }

    public void Dispose()
    {
    }
}

/// <summary>TCP over loopback. Each time on a new port, so that no TIME_WAIT of an earlier run
/// interferes.</summary>
internal sealed unsafe class TcpPairs : IClientPairs
{
    private readonly int _listener =
        Native.Check(Native.NewSocket(Native.AfInet, Native.SockStream | Native.CloseOnExec, 0), "socket");
    private readonly byte[] _address = new byte[16];

    public TcpPairs()
    {
        BitConverter.TryWriteBytes(_address, (short)Native.AfInet);
        BinaryPrimitives.WriteUInt32BigEndian(_address.AsSpan(4), 0x7f000001);
        var length = 16u;
        fixed (byte* address = _address)
        {
            Native.Check(Native.Bind(_listener, address, length), "bind");
            Native.Check(Native.Listen(_listener, 64), "listen");
            Native.Check(Native.GetSocketName(_listener, address, &length), "getsockname");
        }
    }

    public (int Browser, int Server) Create()
    {
        var browser = Native.Check(
            Native.NewSocket(Native.AfInet, Native.SockStream | Native.CloseOnExec, 0), "socket");
        fixed (byte* address = _address)
            Native.Check(Native.Connect(browser, address, 16), "connect");
        var server = Native.Check(
            Native.Accept(_listener, null, null, Native.CloseOnExec | Native.NonBlocking), "accept4");
        return (browser, server);
    }

    public void Dispose() => _ = Native.Close(_listener);
}
