using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Keeps sockets that are slow to close from delaying the end of the process. The kernel closes what a process
/// has open before the process disappears. Each close of a TCP connection sends a packet, and in some network
/// namespaces a packet costs milliseconds (<see cref="NetworkCost"/>).
/// </summary>
/// <remarks>
/// Right before the end, such sockets are sent (unix(7), SCM_RIGHTS) into the queue of a socket that is
/// itself in that queue. When the process has closed all its descriptors, only the queue refers to the queue.
/// Then the kernel's collector of such cycles releases it. From Linux 6.9 on, a kernel thread does that.
/// Before, the process that ends does it, or another one that closes a Unix socket then.
/// </remarks>
internal sealed unsafe class ExitReleases
{
    /// <summary>The kernel refuses more in one message (SCM_MAX_FD).</summary>
    private const int MostInMessage = 253;

    /// <summary>Looked at in some tens of milliseconds.</summary>
    private const int MostDescriptors = 1 << 20;

    private readonly int[] _message = new int[MostInMessage];
    private volatile bool _isNeeded;

    /// <summary>A call on a socket has computed for long. From any thread.</summary>
    public void Need() => _isNeeded = true;

    /// <summary>Leaves connections of other network namespaces to the kernel, if any call has computed for
    /// long. They are closed some time after the end of the process. Once, from any thread.</summary>
    public void LeaveToKernel()
    {
        if (!_isNeeded || !TryMakeQueue(out var queue))
            return;
        var ownNetwork = LinuxNative.GetNetworkCookie(queue);
        LinuxNative.GetDescriptorLimit(out var limit, out _);
        var end = (int)Math.Min(limit, MostDescriptors);
        var count = 0;
        for (var fd = 0; fd < end; fd++)
        {
            if (!MayLeave(fd, ownNetwork))
                continue;
            _message[count++] = fd;
            if (count == MostInMessage)
            {
                Send(queue, _message);
                count = 0;
            }
        }

        Send(queue, _message.AsSpan(0, count));
    }

    /// <summary>The close of a Unix socket sends no packet. A lingering socket must stay: the kernel's thread
    /// would wait for its reader, and the rest of the system for that thread. The end of a process does not
    /// wait for such a reader.</summary>
    private static bool MayLeave(int fd, ulong ownNetwork) =>
        LinuxNative.GetSockOpt(fd, SolSocket, SoDomain, out var domain) >= 0 && domain is AfInet or AfInet6
        && LinuxNative.GetNetworkCookie(fd) != ownNetwork && !LinuxNative.HasLinger(fd);

    /// <summary>Makes the queue, with its own reader in it. Both ends stay open until the process
    /// ends.</summary>
    private static bool TryMakeQueue(out int writer)
    {
        const int Type = SockStream | SockCloExec | SockNonBlock;
        return LinuxNative.SocketPair(AfUnix, Type, out writer, out var reader) >= 0
            && TrySend(writer, [reader]);
    }

    private static void Send(int queue, ReadOnlySpan<int> descriptors)
    {
        if (descriptors.IsEmpty || TrySend(queue, descriptors))
            return;
        // The releaser may have closed one of them meanwhile: then the kernel takes none.
        foreach (var fd in descriptors)
            _ = TrySend(queue, [fd]);
    }

    /// <returns>False also if too many descriptors of the user are in flight (ETOOMANYREFS): the limit is
    /// RLIMIT_NOFILE. The kernel closes these sockets at the end of the process.</returns>
    private static bool TrySend(int queue, ReadOnlySpan<int> descriptors)
    {
        byte mark = 0;
        return LinuxNative.SendDescriptors(queue, &mark, 1, descriptors, MsgDontWait | MsgNoSignal) == 1;
    }
}
