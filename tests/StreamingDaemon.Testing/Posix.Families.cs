namespace StreamingDaemon.Testing;

// Sockets of families and protocols that .NET has no names for.
public static unsafe partial class Posix
{
    /// <summary>A new socket.</summary>
    /// <returns>Its descriptor, or a negative number if this kernel has no such sockets.</returns>
    public static int TryNewSocket(int family, int type, int protocol = 0) =>
        SocketRaw(family, type | SockCloExec, protocol);

    /// <summary>Two ends of a Multipath TCP connection.</summary>
    /// <returns>False if this kernel has no such sockets.</returns>
    public static bool TryMultipathPair(out int browser, out int server)
    {
        const int Inet = 2, Stream = 1, MultipathTcp = 262;
        (browser, server) = (-1, -1);
        var listener = TryNewSocket(Inet, Stream, MultipathTcp);
        if (listener < 0)
            return false;
        var address = stackalloc byte[16];
        new Span<byte>(address, 16).Clear();
        (address[0], address[4], address[7]) = (Inet, 127, 1);
        var length = 16;
        Check(ListenRaw(listener, 1), "listen"); // binds to a free port
        Check(GetSockNameRaw(listener, address, &length), "getsockname");
        (address[4], address[7]) = (127, 1);
        browser = TryNewSocket(Inet, Stream, MultipathTcp);
        Check(ConnectRawTo(browser, address, length), "connect");
        server = AcceptRaw(listener, null, null);
        Check(server, "accept");
        _ = Close(listener);
        return true;
    }

    [System.Runtime.InteropServices.LibraryImport("libc", EntryPoint = "listen", SetLastError = true)]
    private static partial int ListenRaw(int fd, int backlog);

    [System.Runtime.InteropServices.LibraryImport("libc", EntryPoint = "getsockname", SetLastError = true)]
    private static partial int GetSockNameRaw(int fd, byte* address, int* length);

    [System.Runtime.InteropServices.LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    private static partial int ConnectRawTo(int fd, byte* address, int length);

    [System.Runtime.InteropServices.LibraryImport("libc", EntryPoint = "accept", SetLastError = true)]
    private static partial int AcceptRaw(int fd, byte* address, int* length);
}
