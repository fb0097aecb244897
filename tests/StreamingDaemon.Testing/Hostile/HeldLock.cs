using System.Runtime.InteropServices;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>
/// Holds the lock of a TCP socket, or of an epoll: it sends from, or waits into, memory whose page fault nobody
/// answers (userfaultfd(2)). Needs root, because the fault happens in the kernel.
/// </summary>
public sealed unsafe partial class HeldLock : IDisposable
{
    private const int PageBytes = 4096;
    private const long SysUserFaultFd = 323; // x86-64
    private const long SysUserFaultFdArm64 = 282;
    private const int CloExec = 0x80000;
    private const nuint ApiRequest = 0xC018AA3F; // UFFDIO_API
    private const nuint RegisterRequest = 0xC020AA00; // UFFDIO_REGISTER
    private const nuint ZeroPageRequest = 0xC020AA04; // UFFDIO_ZEROPAGE
    private const ulong Api = 0xAA;
    private const ulong Missing = 1;

    private readonly int _faults;
    private readonly byte* _page;
    private readonly Thread _holder;
    private bool _released;

    /// <summary>Takes the lock; it is held until the object is disposed.</summary>
    public HeldLock(int socket)
        : this(page => Send(socket, (byte*)page, PageBytes, 0x4000))
    {
    }

    private HeldLock(Func<nint, nint> call)
    {
        var number = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? SysUserFaultFd : SysUserFaultFdArm64;
        _faults = (int)Syscall(number, CloExec);
        if (_faults < 0)
            throw new PosixException("userfaultfd", Marshal.GetLastPInvokeError());
        var api = stackalloc ulong[3] { Api, 0, 0 };
        Check(Ioctl(_faults, ApiRequest, api), "UFFDIO_API");
        _page = MMap(null, PageBytes, 3, 0x22, -1, 0);
        var register = stackalloc ulong[4] { (ulong)_page, PageBytes, Missing, 0 };
        Check(Ioctl(_faults, RegisterRequest, register), "UFFDIO_REGISTER");

        var threadId = 0;
        _holder = new Thread(() =>
        {
            Volatile.Write(ref threadId, GetTid());
            _ = call((nint)_page);
        })
        { IsBackground = true };
        _holder.Start();
        var deadline = Environment.TickCount64 + 10_000;
        // If the send ends, the socket is closed, and there is no lock to hold any more.
        while (_holder.IsAlive && (threadId == 0 || !SleepsInFault(threadId)))
        {
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException("the send does not fault");
            Thread.Sleep(1);
        }
    }

    /// <summary>Holds the lock of an epoll that watches these: the last close of each waits for it
    /// (eventpoll_release).</summary>
    public static HeldLock OfEpollOf(IEnumerable<int> descriptors)
    {
        var epoll = EpollCreate(CloExec);
        var (read, write) = Posix.Pipe();
        // Something must be ready: only then does epoll_wait(2) write to its memory.
        Watch(epoll, write, 4);
        foreach (var fd in descriptors)
            Watch(epoll, fd, 0);
        return new HeldLock(page =>
        {
            var events = EpollWait(epoll, (byte*)page, 1, -1);
            _ = Posix.Close(epoll);
            _ = Posix.Close(read);
            _ = Posix.Close(write);
            return events;
        });
    }

    public void Dispose()
    {
        if (_released)
            return;
        _released = true;
        var range = stackalloc ulong[4] { (ulong)_page, PageBytes, 0, 0 };
        Check(Ioctl(_faults, ZeroPageRequest, range), "UFFDIO_ZEROPAGE");
        _holder.Join();
        _ = Posix.Close(_faults);
        _ = MUnmap(_page, PageBytes);
    }

    private static void Watch(int epoll, int fd, uint events)
    {
        // struct epoll_event: 12 bytes on x86-64, 16 elsewhere; the events come first.
        var watched = stackalloc uint[4] { events, 0, 0, 0 };
        Check(EpollCtl(epoll, 1, fd, watched), "epoll_ctl");
    }

    /// <summary>The kernel function in which a thread waits (/proc wchan).</summary>
    private static bool SleepsInFault(int threadId)
    {
        try
        {
            return File.ReadAllText($"/proc/self/task/{threadId}/wchan")
                .Contains("handle_userfault", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static void Check(int result, string call)
    {
        if (result < 0)
            throw new PosixException(call, Marshal.GetLastPInvokeError());
    }

    private static int GetTid() =>
        (int)Syscall(RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 186 : 178, 0);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial long Syscall(long number, long argument);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Ioctl(int fd, nuint request, void* argument);

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial byte* MMap(void* address, nuint length, int protection, int flags, int fd, long offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int MUnmap(void* address, nuint length);

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    private static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    private static partial int EpollCtl(int epoll, int operation, int fd, uint* watched);

    [LibraryImport("libc", EntryPoint = "epoll_wait")]
    private static partial int EpollWait(int epoll, byte* events, int most, int timeoutMs);

    [LibraryImport("libc", EntryPoint = "send")]
    private static partial nint Send(int fd, void* bytes, nuint length, int flags);
}
