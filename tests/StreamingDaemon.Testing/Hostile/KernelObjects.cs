using System.Runtime.InteropServices;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>Descriptors of objects that the kernel makes. Some kernels lack some of them, and some users may not
/// make all.</summary>
internal static unsafe partial class KernelObjects
{
    private const int CloExec = 0x80000;
    private const int OpenPath = 0x200000; // O_PATH
    private const int AttributeBytes = 128;

    // The same numbers on x86-64 and arm64.
    private const long SysPidFdOpen = 434;
    private const long SysIoUringSetup = 425;
    private const long SysOpenTree = 428;
    private const long SysFsOpen = 430;
    private const long SysLandlockCreateRuleset = 444;
    private const long SysMemfdSecret = 447;

    private static bool IsX64 => RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>The caller closes them.</summary>
    public static List<int> All()
    {
        var attributes = stackalloc uint[AttributeBytes / sizeof(uint)];
        Span<uint> all = new(attributes, AttributeBytes / sizeof(uint));
        var made = new List<long>
        {
            Syscall(SysPidFdOpen, Environment.ProcessId, 0, 0, 0, 0),
            Syscall(IsX64 ? 323 : 282, CloExec, 0, 0, 0, 0), // userfaultfd
            Syscall(IsX64 ? 290 : 19, 0, CloExec, 0, 0, 0), // eventfd2
            Syscall(IsX64 ? 283 : 85, 1, CloExec, 0, 0, 0), // timerfd_create
            Syscall(IsX64 ? 294 : 26, CloExec, 0, 0, 0, 0), // inotify_init1
            Syscall(IsX64 ? 300 : 262, 1, 0, 0, 0, 0), // fanotify_init
            Syscall(SysMemfdSecret, CloExec, 0, 0, 0, 0),
        };
        fixed (byte* tmpfs = "tmpfs\0"u8)
            made.Add(Syscall(SysFsOpen, (long)tmpfs, 1, 0, 0, 0));
        fixed (byte* root = "/\0"u8)
            made.Add(Syscall(SysOpenTree, -100, (long)root, CloExec, 0, 0));
        all.Clear();
        made.Add(Syscall(SysIoUringSetup, 8, (long)attributes, 0, 0, 0));
        all.Clear();
        made.Add(Syscall(IsX64 ? 289 : 74, -1, (long)attributes, 8, CloExec, 0)); // signalfd4
        attributes[0] = 1; // handles execute
        made.Add(Syscall(SysLandlockCreateRuleset, (long)attributes, 8, 0, 0, 0));
        all.Clear();
        (attributes[0], attributes[1]) = (1, 112); // PERF_TYPE_SOFTWARE, size
        made.Add(Syscall(IsX64 ? 298 : 241, (long)attributes, 0, -1, -1, 8)); // perf_event_open
        all.Clear();
        (attributes[0], attributes[1], attributes[2], attributes[3]) = (1, 4, 4, 1_000); // a hash map
        made.Add(Syscall(IsX64 ? 321 : 280, 0, (long)attributes, AttributeBytes, 0, 0)); // bpf, BPF_MAP_CREATE
        List<int> descriptors = [.. made.Where(fd => fd >= 0).Select(fd => (int)fd)];
        descriptors.AddRange(Epolls(descriptors));
        foreach (var path in (string[])["/dev/fuse", "/dev/vda", "/dev/loop0", "/dev/net/tun", "/dev/kvm",
            "/proc/self/pagemap", "/proc/self/environ", "/proc/kmsg", "/sys/kernel/uevent_seqnum"])
        {
            if (Path.Exists(path) && OpenRaw(path, 0) is >= 0 and var fd)
                descriptors.Add(fd);
        }

        descriptors.Add(OpenRaw("/", OpenPath));
        return descriptors.FindAll(CanBePassed);
    }

    /// <summary>From 6.7 on, a ring cannot be passed. A ring that an epoll watches still comes with the epoll.</summary>
    private static bool CanBePassed(int fd)
    {
        var (left, right) = Posix.SocketPair();
        try
        {
            _ = Posix.SendDescriptors(left, "x"u8, fd);
            return true;
        }
        catch (PosixException)
        {
            return false;
        }
        finally
        {
            _ = Posix.Close(left);
            _ = Posix.Close(right);
        }
    }

    /// <summary>An epoll that watches the others, and a chain of epolls, as deep as the kernel allows.</summary>
    private static List<int> Epolls(List<int> watched)
    {
        const int Deepest = 5;
        var epolls = new List<int>();
        var entry = stackalloc byte[16];
        new Span<byte>(entry, 16).Clear();
        for (var level = 0; level < Deepest; level++)
        {
            var epoll = EpollCreate(CloExec);
            foreach (var fd in level == 0 ? watched : [epolls[^1]])
                _ = EpollControl(epoll, 1, fd, entry);
            epolls.Add(epoll);
        }

        return epolls;
    }

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial long Syscall(long number, long a, long b, long c, long d, long e);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenRaw(string path, int flags);

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    private static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    private static partial int EpollControl(int epoll, int operation, int fd, byte* entry);
}
