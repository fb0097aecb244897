using System.Runtime.InteropServices;

namespace StreamingDaemon.Bench.Interop;

/// <summary>When an <see cref="Epoll"/> reports a descriptor.</summary>
internal enum Watch
{
    /// <summary>As long as there is something to read.</summary>
    Data = Native.EpollIn,

    /// <summary>Once for everything since the last report: the kernel checks it once, not twice.</summary>
    NewData = Native.EpollIn | Native.EpollPeerShut | Native.EpollEdge,

    /// <summary>When the other side has ended the stream, whatever is left to read before the end.</summary>
    End = Native.EpollPeerShut,
}

/// <summary>One epoll, for reading.</summary>
internal sealed unsafe class Epoll : IDisposable
{
    /// <summary>Most events that one epoll_wait returns.</summary>
    public const int BatchSize = 512;

    // struct epoll_event is packed on x86-64, and there only (epoll_ctl(2), <sys/epoll.h>).
    private static readonly bool s_isPacked = RuntimeInformation.ProcessArchitecture == Architecture.X64;
    private static readonly int s_entryBytes = s_isPacked ? 12 : 16;
    private static readonly int s_dataOffset = s_isPacked ? 4 : 8;

    private readonly int _fd = Native.Check(Native.EpollCreate(Native.CloseOnExec), "epoll_create1");
    private readonly byte* _entries = (byte*)NativeMemory.AllocZeroed((nuint)(BatchSize * s_entryBytes));

    /// <summary>Watches a descriptor; from any thread.</summary>
    /// <param name="fd">The descriptor.</param>
    /// <param name="tag">The value that <see cref="TagAt"/> returns for it.</param>
    /// <param name="watch">When to report it.</param>
    public void Add(int fd, int tag, Watch watch)
    {
        var entry = stackalloc byte[16];
        *(int*)entry = (int)watch;
        *(long*)(entry + s_dataOffset) = tag;
        Native.Check(Native.EpollControl(_fd, Native.EpollAdd, fd, entry), "epoll_ctl");
    }

    /// <summary>
    /// Call this before closing the descriptor. A child being started holds a copy of it until exec, and
    /// while a copy exists, close removes nothing from an epoll (epoll(7), Q6). Its event would then arrive
    /// under a tag that the next client has taken.
    /// </summary>
    public void Remove(int fd) => _ = Native.EpollControl(_fd, Native.EpollDelete, fd, null);

    /// <summary>Waits; returns the number of reported descriptors, 0 after the time-out.</summary>
    public int Wait(int timeoutMs)
    {
        var count = Native.EpollWait(_fd, _entries, BatchSize, timeoutMs);
        if (count >= 0)
            return count;
        return Native.Errno == Native.ErrorInterrupted ? 0 : Native.Check(count, "epoll_wait");
    }

    public int TagAt(int index) => (int)*(long*)(_entries + index * s_entryBytes + s_dataOffset);

    /// <summary>Nothing follows the bytes still to be read: the end, or an error.</summary>
    public bool HasEndedAt(int index) => (*(int*)(_entries + index * s_entryBytes)
        & (Native.EpollPeerShut | Native.EpollHangUp | Native.EpollError)) != 0;

    public void Dispose()
    {
        _ = Native.Close(_fd);
        NativeMemory.Free(_entries);
    }
}
