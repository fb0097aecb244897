using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.Uring.Interop;

/// <summary>
/// System calls on paths and descriptors of any kind. Every wrapper answers what the kernel would: the
/// result, or a negative errno.
/// </summary>
internal static unsafe partial class FileNative
{
    public const int OpenReadWrite = 0x2;
    public const int OpenCreate = 0x40;
    public const int OpenExclusive = 0x80;
    public const int OpenNonBlock = 0x800;
    public const int OpenCloExec = 0x80000;
    public const int OpenPath = 0x200000;
    public const int LockExclusive = 0x2;
    public const int LockNonBlocking = 0x4;
    public const int DuplicateCloseOnExec = 1030;
    public const int SetDescriptorFlags = 2; // F_SETFD
    public const int GetStatusFlags = 3; // F_GETFL
    public const int SetStatusFlags = 4; // F_SETFL
    public const int CloseOnExec = 1; // FD_CLOEXEC
    public const int AddSeals = 1033; // F_ADD_SEALS
    public const int GetSeals = 1034; // F_GET_SEALS
    public const int SealSeal = 1; // F_SEAL_SEAL: no further seals
    public const int SealShrink = 2;
    public const int SealGrow = 4;
    public const int SealWrite = 8;
    public const uint MemoryCloseOnExec = 1; // MFD_CLOEXEC
    public const uint MemoryAllowsSealing = 2; // MFD_ALLOW_SEALING

    // O_NOFOLLOW is one of the few flags that differ between architectures.
    public static int OpenNoFollow { get; } =
        RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x8000 : 0x20000;

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenRaw(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int FLockRaw(int fd, int operation);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int FcntlRaw(int fd, int command, int argument);

    [LibraryImport("libc", EntryPoint = "pread", SetLastError = true)]
    private static partial nint PReadRaw(int fd, void* buffer, nuint count, nint offset);

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MemFdCreateRaw(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "lchown", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LChownRaw(string path, uint user, uint group);

    [LibraryImport("libc", EntryPoint = "chmod", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChmodRaw(string path, uint mode);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameRaw(string from, string to);

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LinkRaw(string from, string to);

    [LibraryImport("libc", EntryPoint = "getgrnam_r", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int GetGroupRaw(string name, GroupEntry* entry, byte* buffer, nuint size,
        GroupEntry** result);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetEffectiveUser();

    [LibraryImport("libc", EntryPoint = "getegid")]
    private static partial uint GetEffectiveGroup();

    [LibraryImport("libc", EntryPoint = "getgroups", SetLastError = true)]
    private static partial int GetGroupsRaw(int size, uint* groups);

    [LibraryImport("libc", EntryPoint = "getsockname", SetLastError = true)]
    private static partial int GetSockNameRaw(int fd, void* address, uint* length);

    /// <summary><c>struct group</c> of &lt;grp.h&gt;, the same with glibc and musl.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct GroupEntry
    {
        public byte* Name;
        public byte* Password;
        public uint Id;
        public byte** Members;
    }

    /// <summary>The user that owns this process's files.</summary>
    public static uint EffectiveUser => GetEffectiveUser();

    public static int Open(string path, int flags, uint mode) => Result(OpenRaw(path, flags, mode));

    public static int FLock(int fd, int operation) => Result(FLockRaw(fd, operation));

    public static int Fcntl(int fd, int command, int argument) => Result(FcntlRaw(fd, command, argument));

    /// <summary>Reads at an offset.</summary>
    public static int ReadAt(int fd, void* buffer, int count, int offset)
    {
        var read = PReadRaw(fd, buffer, (nuint)count, offset);
        return read < 0 ? -Marshal.GetLastPInvokeError() : (int)read;
    }

    /// <summary>A file in memory, without a path, that can be sealed.</summary>
    public static int CreateMemory(string name) =>
        Result(MemFdCreateRaw(name, MemoryCloseOnExec | MemoryAllowsSealing));

    /// <summary>Is no descriptor free, because a limit of this process or of the system is reached?</summary>
    /// <param name="fd">Any open descriptor.</param>
    public static bool IsTableFull(int fd)
    {
        var copy = Fcntl(fd, DuplicateCloseOnExec, 0);
        if (copy >= 0)
            _ = LinuxNative.Close(copy);
        return copy is -Errno.MFile or -Errno.NFile;
    }

    /// <summary>Gives a file to a group, and keeps its owner. Does not follow a symbolic link.</summary>
    public static int ChangeGroup(string path, uint group) => Result(LChownRaw(path, uint.MaxValue, group));

    /// <summary>May this process give a file of its own to the group (chown(2))? Root and the group's members
    /// may.</summary>
    public static bool MayGiveTo(uint group)
    {
        if (GetEffectiveUser() == 0 || GetEffectiveGroup() == group)
            return true;
        var groups = new uint[Math.Max(1, GetGroupsRaw(0, null))];
        fixed (uint* first = groups)
        {
            var count = GetGroupsRaw(groups.Length, first);
            return count > 0 && groups.AsSpan(0, count).Contains(group);
        }
    }

    public static int Chmod(string path, int mode) => Result(ChmodRaw(path, (uint)mode));

    public static int Rename(string from, string to) => Result(RenameRaw(from, to));

    public static int Link(string from, string to) => Result(LinkRaw(from, to));

    /// <summary>Looks a group up by name, wherever the system keeps its groups.</summary>
    /// <returns>0, a negative errno, or -ENOENT if there is none (getgrnam_r(3) itself answers 0
    /// then).</returns>
    public static int FindGroup(string name, out uint id)
    {
        id = 0;
        GroupEntry entry;
        GroupEntry* found;
        // A group with very many members is answered with ERANGE until they fit.
        for (var size = 4096; ; size *= 4)
        {
            var buffer = new byte[size];
            fixed (byte* bytes = buffer)
            {
                var error = GetGroupRaw(name, &entry, bytes, (nuint)size, &found);
                if (error == Errno.Range && size < 1 << 24)
                    continue;
                if (error != 0)
                    return -error;
                if (found is null)
                    return -Errno.NoEnt;
                id = entry.Id;
                return 0;
            }
        }
    }

    /// <summary>The path a Unix socket is bound to, or "" if it has none.</summary>
    public static string BoundPath(int fd)
    {
        UnixAddress address = default;
        var length = (uint)sizeof(UnixAddress);
        if (GetSockNameRaw(fd, &address, &length) < 0)
            return "";
        var path = new ReadOnlySpan<byte>(address.Path, UnixAddress.MaxPathBytes + 1);
        var end = path.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? path : path[..end]);
    }

    private static int Result(int returned) => returned < 0 ? -Marshal.GetLastPInvokeError() : returned;
}
