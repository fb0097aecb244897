using System.Runtime.InteropServices;

namespace StreamingDaemon.Bench.Interop;

/// <summary>
/// The load generator's system calls. Fifteen thousand clients are fifteen thousand descriptors in one epoll,
/// not as many socket objects and tasks: the generator shares its cores with the daemon it measures.
/// </summary>
internal static unsafe partial class Native
{
    public const int AfUnix = 1, AfInet = 2;
    public const int SockStream = 1, SockSeqPacket = 5;
    public const int CloseOnExec = 0x80000, NonBlocking = 0x800;
    public const int EpollIn = 1, EpollError = 0x8, EpollHangUp = 0x10, EpollPeerShut = 0x2000, EpollEdge = 1 << 31;
    public const int EpollAdd = 1, EpollDelete = 2;
    public const int NoSignal = 0x4000, DontWait = 0x40;
    public const int ErrorInterrupted = 4, ErrorAgain = 11, ErrorConnectionReset = 104;
    public const int ShutBoth = 2;
    private const int SetFlags = 4;
    private const int ResourceDescriptors = 7, ClockTicks = 2;
    private const int ClockMonotonic = 1, AbsoluteTime = 1, SetTimerSlack = 29;

    /// <summary>errno of this thread's last failed call.</summary>
    public static int Errno => Marshal.GetLastPInvokeError();

    /// <summary>USER_HZ: the unit of the times in /proc/PID/stat.</summary>
    public static long TicksPerSecond { get; } = SystemConfiguration(ClockTicks);

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    public static partial int SocketPair(int domain, int type, int protocol, int* pair);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    public static partial int NewSocket(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    public static partial int Connect(int fd, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    public static partial int Bind(int fd, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "listen", SetLastError = true)]
    public static partial int Listen(int fd, int backlog);

    [LibraryImport("libc", EntryPoint = "getsockname", SetLastError = true)]
    public static partial int GetSocketName(int fd, byte* address, uint* length);

    [LibraryImport("libc", EntryPoint = "accept4", SetLastError = true)]
    public static partial int Accept(int fd, byte* address, uint* length, int flags);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    public static partial nint SendMessage(int fd, byte* message, int flags);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    public static partial nint Receive(int fd, byte* buffer, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "shutdown")]
    public static partial int ShutDown(int fd, int how);

    [LibraryImport("libc", EntryPoint = "close")]
    public static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    public static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    public static partial int EpollControl(int epoll, int operation, int fd, byte* entry);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    public static partial int EpollWait(int epoll, byte* entries, int count, int timeoutMs);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    public static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int FileControl(int fd, int command, nint value);

    [LibraryImport("libc", EntryPoint = "sysconf")]
    private static partial nint SystemConfiguration(int name);

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    private static partial int GetLimit(int resource, ulong* limit);

    [LibraryImport("libc", EntryPoint = "setrlimit", SetLastError = true)]
    private static partial int SetLimit(int resource, ulong* limit);

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint SystemCall(nint number, nint a, nint b, nint c);

    [LibraryImport("libc", EntryPoint = "clock_nanosleep")]
    private static partial int SleepUntil(int clock, int flags, long* time, long* rest);

    [LibraryImport("libc", EntryPoint = "prctl")]
    private static partial int ProcessControl(int option, nuint value, nuint b, nuint c, nuint d);

    /// <summary>Raises the soft limit of descriptors to the hard one, also for the daemons that it
    /// starts.</summary>
    /// <returns>The limit in force.</returns>
    public static long RaiseDescriptorLimit()
    {
        var limit = stackalloc ulong[2];
        Check(GetLimit(ResourceDescriptors, limit), "getrlimit");
        limit[0] = limit[1];
        Check(SetLimit(ResourceDescriptors, limit), "setrlimit");
        return (long)Math.Min(limit[0], long.MaxValue);
    }

    /// <summary>Takes O_NONBLOCK from a socket; it has no other flag.</summary>
    public static int MakeBlocking(int fd) => FileControl(fd, SetFlags, 0);

    /// <summary>The kernel delays sleeps by up to 50 µs unless a thread asks for less.</summary>
    public static void WantPreciseSleep() => _ = ProcessControl(SetTimerSlack, 1_000, 0, 0, 0);

    /// <summary>Lets the calling thread run soon rather than long (sched_setattr(2), from 6.12): otherwise a
    /// late generator would be charged to the daemon. Does nothing on an older kernel.</summary>
    public static void WantToRunSoon()
    {
        // struct sched_attr: size, policy, flags (reset on fork), nice and priority, runtime in nanoseconds.
        var attributes = stackalloc ulong[6] { 48, 1, 0, 100_000, 0, 0 };
        _ = SystemCall(RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 314 : 274, 0,
            (nint)attributes, 0);
    }

    /// <summary>
    /// Sleeps until a moment of <see cref="System.Diagnostics.Stopwatch"/>, which on Linux is CLOCK_MONOTONIC
    /// in nanoseconds. Exact to some microseconds; <see cref="Thread.Sleep(int)"/> only knows whole
    /// milliseconds.
    /// </summary>
    public static void SleepUntil(long nanoseconds)
    {
        var time = stackalloc long[2] { nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 };
        while (SleepUntil(ClockMonotonic, AbsoluteTime, time, null) == ErrorInterrupted)
        {
        }
    }

    /// <exception cref="SystemCallException">The call failed.</exception>
    public static int Check(int result, string call) =>
        result >= 0 ? result : throw new SystemCallException(call, Errno);
}

/// <summary>A system call failed, for the reason in the message.</summary>
internal sealed class SystemCallException(string call, int errno)
    : Exception($"{call}: {Marshal.GetPInvokeErrorMessage(errno)} ({errno})");
