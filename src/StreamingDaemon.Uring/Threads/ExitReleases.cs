using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Keeps sockets that are slow to close from delaying the end of the process. The kernel closes what a
/// process has open before the process disappears. Each close of a TCP connection sends a packet, and in some
/// network namespaces a packet costs milliseconds (<see cref="NetworkCost"/>).
/// </summary>
/// <remarks>
/// Right before the end, such sockets are sent (unix(7), SCM_RIGHTS) to a Unix socket whose queue also holds
/// that socket itself. When the process has closed all its descriptors, only the queue still refers to it.
/// The kernel's garbage collector finds such cycles and closes what is in them. From Linux 6.9 on, it runs on
/// a kernel thread. Older kernels run it in a process that closes a Unix socket, usually the one that ends.
/// </remarks>
internal sealed unsafe class ExitReleases
{
    /// <summary>The kernel refuses more in one message (SCM_MAX_FD).</summary>
    private const int MostInMessage = 253;

    /// <summary>The kernel answers for so many in some tens of milliseconds. Sockets above stay.</summary>
    private const int MostDescriptors = 1 << 20;

    private readonly int[] _message = new int[MostInMessage];
    private volatile bool _isNeeded;
    private bool _isDone;

    /// <summary>A call on a socket took long to compute, so closes may too. From any thread.</summary>
    public void Need() => _isNeeded = true;

    /// <summary>If <see cref="Need"/> was called, gives connections of other network namespaces to the
    /// kernel. It closes them some time after the end of the process. None of the calls here can wait, nor
    /// do they take a foreign socket's lock. From any thread; a second call does nothing.</summary>
    public void LeaveToKernel()
    {
        if (!_isNeeded || Interlocked.Exchange(ref _isDone, true) || !TryMakeQueue(out var queue))
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

    /// <summary>Unix sockets stay: their close sends no packet. Sockets with SO_LINGER stay too. The kernel's
    /// thread would wait for their readers, and what it closes for other processes would wait as well. The
    /// end of a process does not wait for such readers.</summary>
    private static bool MayLeave(int fd, ulong ownNetwork) =>
        LinuxNative.GetSockOpt(fd, SolSocket, SoDomain, out var domain) >= 0 && domain is AfInet or AfInet6
        && LinuxNative.GetNetworkCookie(fd) != ownNetwork && !LinuxNative.HasLinger(fd);

    /// <summary>Makes a pair of sockets, and puts the reading one into its own queue. Both stay open until
    /// the process ends.</summary>
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
        // Another thread may have closed one of them: then the kernel refuses the whole message.
        foreach (var fd in descriptors)
            _ = TrySend(queue, [fd]);
    }

    /// <returns>False if the kernel refuses, for example because more of the user's descriptors than
    /// RLIMIT_NOFILE are in flight (ETOOMANYREFS). It then closes these at the end of the process.</returns>
    private static bool TrySend(int queue, ReadOnlySpan<int> descriptors)
    {
        byte mark = 0;
        return LinuxNative.SendDescriptors(queue, &mark, 1, descriptors, MsgDontWait | MsgNoSignal) == 1;
    }
}
