using System.Runtime.InteropServices;

namespace StreamingDaemon.Uring.Interop;

/// <summary>Which file a path names, without following a symbolic link, and who owns it.</summary>
internal readonly unsafe partial record struct FileIdentity(
    ulong Device, ulong Inode, uint Mode, uint Owner, uint Links, ulong Size)
{
    public const int AtFdCwd = -100;
    public const int AtSymlinkNoFollow = 0x100;
    public const int AtEmptyPath = 0x1000;

    /// <summary>What is read: type, mode, links, owner, inode, size.</summary>
    public const uint StatxWanted = 0x1 | 0x2 | 0x4 | 0x8 | 0x100 | 0x200;

    // S_IFMT and the types of <sys/stat.h>.
    public const uint TypeMask = 0xF000;
    public const uint TypeSocket = 0xC000;
    public const uint TypeLink = 0xA000;
    public const uint TypeRegular = 0x8000;
    public const uint TypeDirectory = 0x4000;
    public const uint TypeFifo = 0x1000;

    /// <summary>Are both one file, even if its mode has changed since?</summary>
    public bool IsSameFile(in FileIdentity other) => Device == other.Device && Inode == other.Inode;

    public bool IsSocket => (Mode & TypeMask) == TypeSocket;

    /// <summary>A regular file without content, under one name.</summary>
    public bool IsEmptyFile => (Mode & TypeMask) == TypeRegular && Size == 0 && Links == 1;

    /// <summary>What it is, for a sentence.</summary>
    public string Kind => (Mode & TypeMask) switch
    {
        TypeSocket => "a socket",
        TypeLink => "a symbolic link",
        TypeDirectory => "a directory",
        TypeFifo => "a FIFO",
        TypeRegular when Size > 0 => "a file with content",
        TypeRegular when Links > 1 => "a file with several names",
        TypeRegular => "an empty file",
        _ => "a device",
    };

    // statx(2): unlike stat(2), one layout on every architecture and libc.
    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte* buffer);

    /// <summary>Reads the identity.</summary>
    /// <returns>0 or a negative errno.</returns>
    public static int Read(string path, out FileIdentity identity) => Read(AtFdCwd, path, out identity);

    /// <summary>As above, of an open descriptor.</summary>
    public static int Read(int fd, out FileIdentity identity) => Read(fd, "", out identity);

    private static int Read(int directory, string path, out FileIdentity identity)
    {
        var buffer = stackalloc byte[256];
        if (Statx(directory, path, AtSymlinkNoFollow | AtEmptyPath, StatxWanted, buffer) < 0)
        {
            identity = default;
            return -Marshal.GetLastPInvokeError();
        }

        // struct statx: stx_nlink at 16, stx_uid at 20, stx_mode at 28, stx_ino at 32, stx_size at 40,
        // stx_dev_major at 136, stx_dev_minor at 140.
        var device = ((ulong)*(uint*)(buffer + 136) << 32) | *(uint*)(buffer + 140);
        identity = new FileIdentity(device, *(ulong*)(buffer + 32), *(ushort*)(buffer + 28),
            *(uint*)(buffer + 20), *(uint*)(buffer + 16), *(ulong*)(buffer + 40));
        return 0;
    }
}
