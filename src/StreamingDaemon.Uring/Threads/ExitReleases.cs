using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Sockets whose close would hold up the end of the process. The kernel closes what a process has open before
/// the process disappears. Each close of a TCP connection sends a packet, and in some network namespaces a
/// packet costs milliseconds (<see cref="NetworkCost"/>).
/// </summary>
/// <remarks>
/// Right before the end, such sockets are sent (unix(7), SCM_RIGHTS) into the queue of a socket that is
/// itself in that queue. When the process has closed all its descriptors, only the queue refers to the queue.
/// Then the kernel's collector of such cycles releases it. From Linux 6.9 on, a kernel thread does that.
/// Before, the process that ends does it, so nothing is gained and nothing is lost.
/// </remarks>
internal sealed unsafe class ExitReleases
{
    /// <summary>The kernel refuses more in one message (SCM_MAX_FD).</summary>
    private const int MostInMessage = 253;

    /// <summary>A process may make many namespaces. Those that come later cost what they cost.</summary>
    private const int MostNetworks = 4_096;

    private readonly Lock _gate = new();
    private readonly HashSet<ulong> _networks = [];
    private readonly int[] _message = new int[MostInMessage];
    private int _inMessage;
    private int _queue = -1;

    /// <summary>The packets of a namespace cost much. From any thread.</summary>
    /// <param name="network">SO_NETNS_COOKIE.</param>
    public void Add(ulong network)
    {
        try
        {
            lock (_gate)
            {
                if (_networks.Count < MostNetworks)
                    _networks.Add(network);
            }
        }
        catch (OutOfMemoryException)
        {
            // It stays unknown.
            OutOfMemory.Survive();
        }
    }

    /// <summary>Leaves the sockets of these namespaces to the kernel. They are closed some time after the
    /// end of the process. From any thread, right before that end; it may wait for the lock of a
    /// socket.</summary>
    /// <exception cref="IOException">There is no /proc, or no free descriptor to read it with.</exception>
    public void LeaveToKernel()
    {
        lock (_gate)
        {
            if (_networks.Count == 0)
                return;
            var lingering = new List<int>();
            foreach (var path in Directory.EnumerateFileSystemEntries("/proc/self/fd"))
            {
                if (!int.TryParse(Path.GetFileName(path.AsSpan()), out var fd) || !IsCostly(fd))
                    continue;
                if (LinuxNative.HasLinger(fd))
                    lingering.Add(fd);
                else
                    Leave(fd);
            }

            Send();
            // The collector's thread would wait for the reader of a lingering socket, and other sockets of
            // the whole system behind it. The kernel does not wait for it at the end of a process.
            foreach (var fd in lingering)
            {
                _ = LinuxNative.SetNoLinger(fd);
                if (!LinuxNative.HasLinger(fd))
                    Leave(fd);
            }

            Send();
        }
    }

    /// <summary>A Unix socket's close sends no packet.</summary>
    private bool IsCostly(int fd) =>
        LinuxNative.GetSockOpt(fd, SolSocket, SoDomain, out var domain) >= 0
        && domain is AfInet or AfInet6 && _networks.Contains(LinuxNative.GetNetworkCookie(fd));

    private void Leave(int fd)
    {
        if (_inMessage == MostInMessage)
            Send();
        if (_queue < 0 && !TryMakeQueue())
            return;
        _message[_inMessage++] = fd;
    }

    /// <summary>Both ends stay open until the process ends.</summary>
    private bool TryMakeQueue()
    {
        const int Type = SockStream | SockCloExec | SockNonBlock;
        if (LinuxNative.SocketPair(AfUnix, Type, out var writer, out var reader) < 0)
            return false;
        _queue = writer;
        _message[_inMessage++] = reader;
        return true;
    }

    /// <summary>If the kernel refuses (ETOOMANYREFS: RLIMIT_NOFILE bounds the descriptors of a user that are
    /// in flight), it closes these sockets at the end of the process.</summary>
    private void Send()
    {
        if (_inMessage > 0)
        {
            byte mark = 0;
            _ = LinuxNative.SendDescriptors(
                _queue, &mark, 1, _message.AsSpan(0, _inMessage), MsgDontWait | MsgNoSignal);
        }

        _inMessage = 0;
    }
}
