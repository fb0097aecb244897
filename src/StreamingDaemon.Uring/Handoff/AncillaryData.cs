using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>Control messages that may come beside the client's descriptor.</summary>
internal static class AncillaryData
{
    private static readonly int[] s_senders =
        [SoPassCred, SoPassSec, SoPassPidFd, SoTimestamp, SoTimestampNs, SoTimestamping, SoInq];

    /// <summary>
    /// Turns off every option that makes the kernel add control messages. The service manager's listener may
    /// have such options, and its connections inherit them. SO_PASSPIDFD adds a descriptor to each message.
    /// Without SO_PASSRIGHTS (AcceptFileDescriptors=no in the socket unit) every handoff fails with EPERM.
    /// </summary>
    /// <param name="fd">A Unix socket that only we hold. A kernel that lacks an option refuses it.</param>
    public static void Prepare(int fd)
    {
        foreach (var option in s_senders)
            _ = LinuxNative.SetSockOpt(fd, SolSocket, option, 0);
        _ = LinuxNative.SetSockOpt(fd, SolSocket, SoPassRights, 1);
    }

    /// <summary>
    /// Makes urgent bytes (MSG_OOB) part of the stream. Otherwise a look skips them, and the read behind it
    /// drops them, with the descriptors that came with them: their last close would be on the loop's thread
    /// (manage_oob).
    /// </summary>
    /// <param name="fd">A SOCK_STREAM connection of the module.</param>
    public static void KeepUrgentBytes(int fd) => _ = LinuxNative.SetSockOpt(fd, SolSocket, SoOobInline, 1);
}
