using System.Runtime.InteropServices;

namespace StreamingDaemon.Testing;

// Files in memory, and descriptors of odd kinds.
public static unsafe partial class Posix
{
    public const int SealSeal = 1;
    public const int SealShrink = 2;
    public const int SealGrow = 4;
    public const int SealWrite = 8;
    public const int AllSeals = SealSeal | SealShrink | SealGrow | SealWrite;
    public const int OpenWriteOnly = 1;
    public const int OpenNonBlock = 0x800;
    public const int OpenPathOnly = 0x200000;
    private const int AddSeals = 1033;
    private const uint CloseOnExecAndSealable = 3;

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MemFdCreateRaw(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint WriteRaw(int fd, byte* bytes, nuint length);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int FcntlRaw(int fd, int command, int argument);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenRaw(string path, int flags);

    /// <summary>A memfd with this content; the caller closes it.</summary>
    public static int MemoryFile(ReadOnlySpan<byte> content, int seals = AllSeals)
    {
        var fd = Check(MemFdCreateRaw("test", CloseOnExecAndSealable), "memfd_create");
        fixed (byte* bytes = content)
        {
            for (var written = 0; written < content.Length;)
                written += Check((int)WriteRaw(fd, bytes + written, (nuint)(content.Length - written)), "write");
        }

        if (seals != 0)
            AddSealsTo(fd, seals);
        return fd;
    }

    public static void AddSealsTo(int fd, int seals) => Check(FcntlRaw(fd, AddSeals, seals), "F_ADD_SEALS");

    /// <summary>open(2) of a file that exists.</summary>
    public static int Open(string path, int flags) => Check(OpenRaw(path, flags | 0x80000), "open");
}
