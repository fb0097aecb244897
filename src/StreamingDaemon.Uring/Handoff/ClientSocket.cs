using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>What a descriptor that came with a handoff is, and what it must be set to.</summary>
internal static class ClientSocket
{
    /// <summary>
    /// Is it a stream socket of a known kind? For the loop's thread: another process may hold the socket's
    /// lock, so this asks only what the kernel answers without it (sk_getsockopt). A file is not a socket,
    /// and gets no call.
    /// </summary>
    /// <param name="fd">Anything.</param>
    /// <param name="isUnix">Is it a Unix socket?</param>
    public static bool IsKnownKind(int fd, out bool isUnix)
    {
        isUnix = false;
        if (LinuxNative.GetSockOpt(fd, SolSocket, SoDomain, out var family) < 0)
            return false;
        isUnix = family == AfUnix;
        if (isUnix)
            return LinuxNative.GetSockOpt(fd, SolSocket, SoType, out var type) == 0 && type == SockStream;
        // These are streams. poll(2) on them takes no lock (tcp_poll, mptcp_poll); on other kinds it may.
        return family is AfInet or AfInet6
            && LinuxNative.GetSockOpt(fd, SolSocket, SoProtocol, out var protocol) == 0
            && protocol is IpProtoTcp or IpProtoMpTcp;
    }

    /// <summary>
    /// Checks that it is connected, and readies it for streaming. These calls take the socket's lock, so they
    /// wait as long as another holder of the socket wants.
    /// </summary>
    /// <param name="fd">The client's.</param>
    /// <param name="isTls">Does the kernel encrypt what is sent into it?</param>
    /// <returns>Null if it is ready, else why it is not.</returns>
    public static HandoffRejection? Prepare(int fd, out bool isTls)
    {
        isTls = false;
        // A listening socket has no peer either.
        if (LinuxNative.GetPeerFamily(fd, out var family) < 0)
            return WhyWithoutPeer(fd);
        if (family == AfUnix)
        {
            _ = LinuxNative.SetSockOpt(fd, SolSocket, SoSndBuf, ClientConnection.UnixSendBuffer / 2);
            return null;
        }

        // A token is a small packet that must not wait for the previous one's acknowledgement.
        _ = LinuxNative.SetSockOpt(fd, IpProtoTcp, TcpNoDelay, 1);
        // Its opener may have asked for it: the close would drop what the client has not read yet.
        _ = LinuxNative.SetNoLinger(fd);
        isTls = LinuxNative.SendsTls(fd);
        return null;
    }

    /// <summary>A connection that was reset, or a socket that never was one: TCP_INFO's state would tell a
    /// reset one (CLOSE) no better. Its error does: a reset leaves one, to be read once.</summary>
    private static HandoffRejection WhyWithoutPeer(int fd) =>
        LinuxNative.GetSockOpt(fd, SolSocket, SoError, out var error) == 0 && error != 0
            ? HandoffRejection.ClientGone
            : HandoffRejection.NotAStreamSocket;
}
