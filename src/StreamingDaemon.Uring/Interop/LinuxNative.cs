using System.Runtime.InteropServices;

namespace StreamingDaemon.Uring.Interop;

/// <summary>
/// System calls. Every wrapper answers what the kernel would: the result, or a negative errno.
/// </summary>
/// <remarks>
/// None of them suppresses the GC transition: io_uring_enter blocks and sends run inline in it, and the
/// attribute is documented for calls below a microsecond that never block.
/// </remarks>
internal static unsafe partial class LinuxNative
{
    // The same numbers on every architecture since 5.1 (asm-generic/unistd.h).
    public const long SysIoUringSetup = 425;
    public const long SysIoUringEnter = 426;

    // Older calls, whose numbers differ (x86: arch/x86/entry/syscalls/syscall_64.tbl).
    private static readonly bool s_isX64 = RuntimeInformation.ProcessArchitecture == Architecture.X64;
    public static long SysSchedSetAttr => s_isX64 ? 314 : 274;
    public static long SysSchedGetAttr => s_isX64 ? 315 : 275;
    public static long SysGetTid => s_isX64 ? 186 : 178;
    public static long SysTgKill => s_isX64 ? 234 : 131;
    public static long SysFutex => s_isX64 ? 202 : 98;

    public const int ProtReadWrite = 0x3;
    public const int MapShared = 0x1;
    public const int MapPrivate = 0x2;
    public const int MapAnonymous = 0x20;
    public const int MapPopulate = 0x8000;
    public const int MadvDontNeed = 4;
    public const int RLimitNoFile = 7;
    private const int FutexWaitPrivate = 128;
    private const int FutexWakePrivate = 129;
    public const int AccessWriteAndSearch = 0x3;

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial long Syscall(long number, long a, long b, long c, long d, long e, long f);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial void* MMapRaw(void* address, nuint length, int protection, int flags, int fd,
        long offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    public static partial int MUnmap(void* address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    public static partial int MAdvise(void* address, nuint length, int advice);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    private static partial int EventFdRaw(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint WriteRaw(int fd, void* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int MallocTrim(nuint pad);

    /// <summary>Returns free pages of the C library's heap (malloc_trim(3)); does nothing if the library has
    /// no such call, such as musl.</summary>
    public static void TrimAllocator()
    {
        try
        {
            _ = MallocTrim(0);
        }
        catch (EntryPointNotFoundException)
        {
            // Its allocator returns them by itself.
        }
    }

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int CloseRaw(int fd);

    [LibraryImport("libc", EntryPoint = "signal")]
    public static partial nint SetSignalHandler(int signal, nint handler);

    /// <summary>The process ignores the signal from now on (SIG_IGN).</summary>
    public static void IgnoreSignal(int signal) => _ = SetSignalHandler(signal, 1);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int IoctlRaw(int fd, nuint request, int* value);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    private static partial int FChmodRaw(int fd, uint mode);

    [LibraryImport("libc", EntryPoint = "umask")]
    public static partial uint Umask(uint mask);

    [LibraryImport("libc", EntryPoint = "unlink", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int UnlinkRaw(string path);

    [LibraryImport("libc", EntryPoint = "access", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AccessRaw(string path, int mode);

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    private static partial int GetRLimitRaw(int resource, ulong* limits);

    [LibraryImport("libc", EntryPoint = "setrlimit", SetLastError = true)]
    private static partial int SetRLimitRaw(int resource, ulong* limits);

    public static int IoUringSetup(uint entries, IoUringParams* parameters) =>
        Result(Syscall(SysIoUringSetup, entries, (long)parameters, 0, 0, 0, 0));

    public static int IoUringEnter(int fd, uint submit, uint wait, uint flags, void* argument, nuint size) =>
        Result(Syscall(SysIoUringEnter, fd, submit, wait, flags, (long)argument, (long)size));

    /// <summary>sched_getattr(2) of the calling thread.</summary>
    public static int SchedGetAttributes(SchedulingSlice.Attributes* attributes, uint size) =>
        Result(Syscall(SysSchedGetAttr, 0, (long)attributes, size, 0, 0, 0));

    /// <summary>sched_setattr(2) of the calling thread.</summary>
    public static int SchedSetAttributes(SchedulingSlice.Attributes* attributes) =>
        Result(Syscall(SysSchedSetAttr, 0, (long)attributes, 0, 0, 0, 0));

    /// <summary>Maps memory, shared with the kernel for <paramref name="fd"/> or anonymous for -1.</summary>
    /// <returns>0 or a negative errno.</returns>
    public static int MMap(nuint length, int fd, long offset, out byte* address)
    {
        var flags = fd < 0 ? MapPrivate | MapAnonymous : MapShared | MapPopulate;
        var result = MMapRaw(null, length, ProtReadWrite, flags, fd, offset);
        address = (nint)result == -1 ? null : (byte*)result;
        return address is null ? -Marshal.GetLastPInvokeError() : 0;
    }

    public static int EventFd() =>
        Result(EventFdRaw(0, SocketConstants.EfdCloExec));

    public static int Write(int fd, void* buffer, int count) => Result(WriteRaw(fd, buffer, (nuint)count));

    /// <summary>close(2). Never retried: Linux frees the number even if it answers EINTR.</summary>
    public static int Close(int fd) => Result(CloseRaw(fd));

    /// <summary>gettid(2): the kernel's number of the calling thread.</summary>
    public static int GetThreadId() => Result(Syscall(SysGetTid, 0, 0, 0, 0, 0, 0));

    /// <summary>futex(2): sleeps while the word has the value. It may return early.</summary>
    public static int FutexWait(int* word, int value) =>
        Result(Syscall(SysFutex, (long)word, FutexWaitPrivate, value, 0, 0, 0));

    /// <summary>futex(2): wakes threads that sleep at the word.</summary>
    /// <returns>How many.</returns>
    public static int FutexWake(int* word, int most) =>
        Result(Syscall(SysFutex, (long)word, FutexWakePrivate, most, 0, 0, 0));

    /// <summary>tgkill(2): sends a signal to one thread of this process.</summary>
    public static int SignalThread(int threadId, int signal) =>
        Result(Syscall(SysTgKill, Environment.ProcessId, threadId, signal, 0, 0, 0));

    public static int FChmod(int fd, int mode) => Result(FChmodRaw(fd, (uint)mode));

    public static int Unlink(string path) => Result(UnlinkRaw(path));

    /// <summary>May this process create files in the directory? access(2): by the real user's rights. 0 or a
    /// negative errno.</summary>
    public static int CheckWritable(string directory) =>
        Result(AccessRaw(directory, AccessWriteAndSearch));

    /// <summary>RLIMIT_NOFILE, soft and hard.</summary>
    public static void GetDescriptorLimit(out ulong soft, out ulong hard)
    {
        var limits = stackalloc ulong[2];
        _ = GetRLimitRaw(RLimitNoFile, limits);
        soft = limits[0];
        hard = limits[1];
    }

    /// <summary>Raises the soft limit of descriptors to the hard one.</summary>
    public static void RaiseDescriptorLimit()
    {
        GetDescriptorLimit(out var soft, out var hard);
        if (soft >= hard)
            return;
        var limits = stackalloc ulong[2] { hard, hard };
        _ = SetRLimitRaw(RLimitNoFile, limits);
    }

    /// <summary>The text of an errno, as strerror(3) gives it.</summary>
    public static string Describe(int errno) => Marshal.GetPInvokeErrorMessage(Math.Abs(errno));

    private static int Result(long returned) => returned < 0 ? -Marshal.GetLastPInvokeError() : (int)returned;
}
