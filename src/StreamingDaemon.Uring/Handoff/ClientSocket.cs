using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>What a descriptor that came with a handoff is, and what it must be set to.</summary>
internal static class ClientSocket
{
    /// <summary>
    /// Looks whether it can be streamed to, and makes it so, in as few calls as say it: they are most of what
    /// a short stream costs in calls.
    /// </summary>
    /// <returns>Null for a connected stream socket, else why it is none.</returns>
    public static HandoffRejection? Prepare(int fd)
    {
        // One that listens has no peer either.
        if (LinuxNative.GetPeerFamily(fd, out var family) < 0)
            return WhyWithoutPeer(fd);
        // A token is a small packet that must not wait for the previous one's acknowledgement. Only TCP knows
        // the option: where it is taken, that answers the question for the type too.
        var isTcp = family is AfInet or AfInet6
            && LinuxNative.SetSockOpt(fd, IpProtoTcp, TcpNoDelay, 1) == 0;
        if (!isTcp && !IsStream(fd))
            return HandoffRejection.NotAStreamSocket;
        // Whoever opened it may have asked for it: the last close would wait for the reader, in this thread,
        // or throw away what he has not read yet. Unix sockets do not do it.
        if (family != AfUnix)
            _ = LinuxNative.SetNoLinger(fd);
        return null;
    }

    /// <summary>A connection that was reset, or a socket that never was one: TCP_INFO's state would tell a
    /// reset one (CLOSE) no better. Its error does: a reset leaves one, to be read once.</summary>
    private static HandoffRejection WhyWithoutPeer(int fd) =>
        IsStream(fd) && LinuxNative.GetSockOpt(fd, SolSocket, SoError, out var error) == 0 && error != 0
            ? HandoffRejection.ClientGone
            : HandoffRejection.NotAStreamSocket;

    private static bool IsStream(int fd) =>
        LinuxNative.GetSockOpt(fd, SolSocket, SoType, out var type) == 0 && type == SockStream;
}
