using System.Runtime.InteropServices;

namespace StreamingDaemon.Uring.Interop;

// Calls on sockets.
internal static unsafe partial class LinuxNative
{
    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int SocketRaw(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    private static partial int SocketPairRaw(int domain, int type, int protocol, int* pair);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static partial int BindRaw(int fd, void* address, uint length);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    private static partial int ConnectRaw(int fd, void* address, uint length);

    [LibraryImport("libc", EntryPoint = "listen", SetLastError = true)]
    private static partial int ListenRaw(int fd, int backlog);

    [LibraryImport("libc", EntryPoint = "accept4", SetLastError = true)]
    private static partial int Accept4Raw(int fd, void* address, uint* length, int flags);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    private static partial nint SendMsgRaw(int fd, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint RecvMsgRaw(int fd, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    private static partial nint RecvRaw(int fd, void* buffer, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    private static partial nint SendRaw(int fd, void* buffer, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "shutdown", SetLastError = true)]
    private static partial int ShutdownRaw(int fd, int how);

    [LibraryImport("libc", EntryPoint = "getsockopt", SetLastError = true)]
    private static partial int GetSockOptRaw(int fd, int level, int name, void* value, uint* length);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetSockOptRaw(int fd, int level, int name, void* value, uint length);

    [LibraryImport("libc", EntryPoint = "getpeername", SetLastError = true)]
    private static partial int GetPeerNameRaw(int fd, void* address, uint* length);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int PollRaw(PollEntry* entries, nuint count, int timeoutMs);

    public static int Socket(int domain, int type) => Result(SocketRaw(domain, type, 0));

    public static int SocketPair(int domain, int type, out int first, out int second)
    {
        var pair = stackalloc int[2];
        var result = Result(SocketPairRaw(domain, type, 0, pair));
        (first, second) = (pair[0], pair[1]);
        return result;
    }

    public static int Bind(int fd, in UnixAddress address)
    {
        fixed (UnixAddress* pointer = &address)
            return Result(BindRaw(fd, pointer, (uint)sizeof(UnixAddress)));
    }

    public static int Connect(int fd, in UnixAddress address)
    {
        fixed (UnixAddress* pointer = &address)
            return Result(ConnectRaw(fd, pointer, (uint)sizeof(UnixAddress)));
    }

    public static int Listen(int fd, int backlog) => Result(ListenRaw(fd, backlog));

    public static int Accept(int fd) =>
        Result(Accept4Raw(fd, null, null, SocketConstants.SockCloExec | SocketConstants.SockNonBlock));

    public static int SendMsg(int fd, MessageHeader* message, int flags) =>
        Result(SendMsgRaw(fd, message, flags));

    /// <summary>Sends bytes, and descriptors with the first byte (unix(7), SCM_RIGHTS).</summary>
    /// <param name="fd">A Unix socket.</param>
    /// <param name="bytes">The bytes to send.</param>
    /// <param name="length">How many bytes; at least one.</param>
    /// <param name="descriptors">At most 253 (SCM_MAX_FD). They also stay open here.</param>
    /// <param name="flags">Flags of sendmsg(2).</param>
    /// <returns>How many bytes were sent, or a negative errno.</returns>
    public static int SendDescriptors(
        int fd, byte* bytes, int length, ReadOnlySpan<int> descriptors, int flags)
    {
        var vector = new IoVector { Base = bytes, Length = (nuint)length };
        // The kernel wants whole words (CMSG_SPACE).
        var payload = (descriptors.Length * sizeof(int) + sizeof(nuint) - 1) / sizeof(nuint) * sizeof(nuint);
        var control = stackalloc byte[sizeof(ControlHeader) + payload];
        *(ControlHeader*)control = new ControlHeader
        {
            Length = (nuint)(sizeof(ControlHeader) + (descriptors.Length * sizeof(int))),
            Level = SocketConstants.SolSocket,
            Type = SocketConstants.ScmRights,
        };
        descriptors.CopyTo(new Span<int>(control + sizeof(ControlHeader), descriptors.Length));
        var header = new MessageHeader
        {
            Vectors = &vector,
            VectorCount = 1,
            Control = control,
            ControlLength = (nuint)(sizeof(ControlHeader) + payload),
        };
        return SendMsg(fd, &header, flags);
    }

    public static int RecvMsg(int fd, MessageHeader* message, int flags) =>
        Result(RecvMsgRaw(fd, message, flags));

    public static int Recv(int fd, void* buffer, int length, int flags) =>
        Result(RecvRaw(fd, buffer, (nuint)length, flags));

    public static int Send(int fd, void* buffer, int length, int flags) =>
        Result(SendRaw(fd, buffer, (nuint)length, flags));

    public static int Shutdown(int fd, int how) => Result(ShutdownRaw(fd, how));

    /// <summary>getsockopt(2) of an int.</summary>
    /// <returns>0 or a negative errno.</returns>
    public static int GetSockOpt(int fd, int level, int name, out int value)
    {
        int read = 0;
        uint length = sizeof(int);
        var result = Result(GetSockOptRaw(fd, level, name, &read, &length));
        value = read;
        return result;
    }

    /// <summary>The number of a socket's network namespace (SO_NETNS_COOKIE, from 5.14).</summary>
    /// <returns>0 if the kernel does not tell.</returns>
    public static ulong GetNetworkCookie(int fd)
    {
        ulong cookie = 0;
        uint length = sizeof(ulong);
        var result = Result(
            GetSockOptRaw(fd, SocketConstants.SolSocket, SocketConstants.SoNetNsCookie, &cookie, &length));
        return result == 0 ? cookie : 0;
    }

    /// <summary>The process that connected, as it was then (unix(7), SO_PEERCRED).</summary>
    /// <returns>0 or a negative errno.</returns>
    public static int GetPeerCredentials(int fd, out PeerCredentials credentials)
    {
        PeerCredentials read;
        var length = (uint)sizeof(PeerCredentials);
        var result = Result(
            GetSockOptRaw(fd, SocketConstants.SolSocket, SocketConstants.SoPeerCred, &read, &length));
        credentials = result == 0 ? read : default;
        return result;
    }

    /// <summary>Sent bytes that the other side has not taken: tcp(7), unix(7), SIOCOUTQ.</summary>
    /// <returns>The number, or a negative errno.</returns>
    public static int GetUnsentBytes(int fd)
    {
        var bytes = 0;
        var result = Result(IoctlRaw(fd, SocketConstants.SioCOutQ, &bytes));
        return result < 0 ? result : bytes;
    }

    /// <summary>Received bytes that nobody has read: unix(7), SIOCINQ.</summary>
    /// <returns>The number, or a negative errno.</returns>
    public static int GetUnreadBytes(int fd)
    {
        var bytes = 0;
        var result = Result(IoctlRaw(fd, SocketConstants.SioCInQ, &bytes));
        return result < 0 ? result : bytes;
    }

    /// <summary>Does the kernel encrypt what is sent? It answers with version and cipher, and no key
    /// (TLS_TX with room for struct tls_crypto_info alone).</summary>
    public static bool SendsTls(int fd) =>
        GetSockOpt(fd, SocketConstants.SolTls, SocketConstants.TlsTx, out _) == 0;

    /// <summary>Has a good part of the socket's buffer room? Without waiting.</summary>
    public static bool IsWritable(int fd)
    {
        var entry = new PollEntry { Fd = fd, Events = (short)SocketConstants.PollOut };
        return Result(PollRaw(&entry, 1, 0)) > 0;
    }

    public static int SetSockOpt(int fd, int level, int name, int value) =>
        Result(SetSockOptRaw(fd, level, name, &value, sizeof(int)));

    /// <summary>Is SO_LINGER on? The kernel answers without the socket's lock.</summary>
    public static bool HasLinger(int fd)
    {
        var linger = stackalloc int[2];
        uint length = 2 * sizeof(int);
        return Result(GetSockOptRaw(fd, SocketConstants.SolSocket, SocketConstants.SoLinger, linger, &length))
            == 0 && linger[0] != 0;
    }

    /// <summary>Turns SO_LINGER off (socket(7), struct linger): close neither waits nor resets.</summary>
    public static int SetNoLinger(int fd)
    {
        var off = stackalloc int[2] { 0, 0 };
        return Result(SetSockOptRaw(fd, SocketConstants.SolSocket, SocketConstants.SoLinger, off,
            2 * sizeof(int)));
    }

    /// <summary>Bounds sends and connects that wait (SO_SNDTIMEO of socket(7), struct timeval).</summary>
    public static int SetSendTimeout(int fd, long milliseconds)
    {
        var time = stackalloc long[2] { milliseconds / 1000, milliseconds % 1000 * 1000 };
        return Result(SetSockOptRaw(fd, SocketConstants.SolSocket, SocketConstants.SoSndTimeO, time,
            2 * sizeof(long)));
    }

    /// <summary>The address family of a connected socket's peer (sa_family_t); else a negative errno
    /// (ENOTCONN, ENOTSOCK).</summary>
    public static int GetPeerFamily(int fd, out int family)
    {
        var address = stackalloc byte[128];
        uint length = 128;
        var error = Result(GetPeerNameRaw(fd, address, &length));
        family = error == 0 ? *(ushort*)address : -1;
        return error;
    }
}
