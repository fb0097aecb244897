using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>Calls poll(2) on several sockets. <see cref="Socket.Select(System.Collections.IList,
/// System.Collections.IList, System.Collections.IList, int)"/> would allocate on each call.</summary>
internal sealed unsafe partial class PollSet(int most)
{
    public const short In = 0x1;

    /// <summary>POLLRDHUP: the peer will send nothing more.</summary>
    public const short PeerEnded = 0x2000;

    /// <summary>POLLERR, POLLHUP, POLLNVAL: poll(2) always reports them.</summary>
    public const short Gone = 0x8 | 0x10 | 0x20;

    private readonly PollFd[] _entries = new PollFd[most];
    private int _count;

    private struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }

    [LibraryImport("libc", EntryPoint = "poll")]
    private static partial int Poll(PollFd* entries, nuint count, int timeoutMs);

    public void Clear() => _count = 0;

    /// <summary>Adds a socket. Null adds an entry that poll(2) skips.</summary>
    public void Add(Socket? socket, short events)
    {
        _entries[_count++] = new PollFd { Fd = (int)(socket?.Handle ?? -1), Events = events };
    }

    /// <summary>Waits for an event on any socket. -1 waits for ever. A signal (EINTR) ends the wait too.
    /// </summary>
    public void Wait(int timeoutMs)
    {
        fixed (PollFd* entries = _entries)
        {
            if (Poll(entries, (nuint)_count, timeoutMs) < 0)
            {
                foreach (ref var entry in _entries.AsSpan(0, _count))
                    entry.Returned = 0;
            }
        }
    }

    /// <summary>The events of the socket that was added as number <paramref name="index"/>, from 0.</summary>
    public short Result(int index) => _entries[index].Returned;
}
