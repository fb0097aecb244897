using System.Runtime.InteropServices;

namespace StreamingDaemon.Uring.Interop;

/// <summary>Which file a path names, without following a symbolic link: device, inode and type.</summary>
internal readonly unsafe partial record struct FileIdentity(ulong Device, ulong Inode, uint Mode)
{
    public const int AtFdCwd = -100;
    public const int AtSymlinkNoFollow = 0x100;
    public const int AtEmptyPath = 0x1000;
    public const uint StatxTypeModeInode = 0x1 | 0x2 | 0x100;

    // S_IFMT and S_IFSOCK of <sys/stat.h>.
    public const uint TypeMask = 0xF000;
    public const uint TypeSocket = 0xC000;

    /// <summary>Whether both are one file, whatever became of its mode since.</summary>
    public bool IsSameFile(in FileIdentity other) => Device == other.Device && Inode == other.Inode;

    public bool IsSocket => (Mode & TypeMask) == TypeSocket;

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
        if (Statx(directory, path, AtSymlinkNoFollow | AtEmptyPath, StatxTypeModeInode, buffer) < 0)
        {
            identity = default;
            return -Marshal.GetLastPInvokeError();
        }

        // struct statx: stx_mode at 28, stx_ino at 32, stx_dev_major at 136, stx_dev_minor at 140.
        var device = ((ulong)*(uint*)(buffer + 136) << 32) | *(uint*)(buffer + 140);
        identity = new FileIdentity(device, *(ulong*)(buffer + 32), *(ushort*)(buffer + 28));
        return 0;
    }
}
