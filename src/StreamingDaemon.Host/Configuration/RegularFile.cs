using System.Runtime.InteropServices;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Reads a configuration file if it is a regular file. A FIFO, a device or an endless file in its place is
/// reported and not read. If a file's server may keep this process from ending, a child process reads it.
/// </summary>
internal static unsafe partial class RegularFile
{
    public const int MaxBytes = 1024 * 1024;

    // fcntl.h: O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC; the same on x86-64 and arm64.
    private const int OpenFlags = 0x800 | 0x100 | 0x80000;

    // statx(2): the buffer and its field offsets are the same on every architecture.
    private const int StatxBytes = 256;
    private const int ModeOffset = 28;
    private const int InodeOffset = 32;
    private const int SizeOffset = 40;
    private const int ChangeTimeOffset = 96;
    private const int ModifyTimeOffset = 112;
    private const int DeviceOffset = 136;
    private const uint StatxTypeAndSize = 0x1 | 0x200;
    private const uint StatxTimesAndInode = 0x40 | 0x80 | 0x100;
    private const int AtCurrentDirectory = -100;
    private const int AtEmptyPath = 0x1000;

    private const int TypeMask = 0xF000; // S_IFMT
    private const int TypeRegular = 0x8000; // S_IFREG
    private const int TypeDirectory = 0x4000; // S_IFDIR

    private const int Eintr = 4;
    private const int Eagain = 11;

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8,
        SetLastError = true)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint Read(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8,
        SetLastError = true)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte* buffer);

    /// <summary>Whether anything is at the path, of whatever kind.</summary>
    public static bool Exists(string path)
    {
        using var wait = FileWait.Begin(path);
        if (TryAskOther(FileQuestion.Exists, path) is { } answer)
            return FileQuestion.IsYes(answer);
        return path.Length > 0 && TryStat(AtCurrentDirectory, path, out _, out _);
    }

    public static bool IsDirectory(string path)
    {
        using var wait = FileWait.Begin(path);
        if (TryAskOther(FileQuestion.IsDirectory, path) is { } answer)
            return FileQuestion.IsYes(answer);
        return TryStat(AtCurrentDirectory, path, out var mode, out _) && (mode & TypeMask) == TypeDirectory;
    }

    /// <summary>Tells the file at the path from one that was there before; the default if there is no
    /// file.</summary>
    public static FileStamp StampOf(string path)
    {
        using var wait = FileWait.Begin(path);
        if (TryAskOther(FileQuestion.Stamp, path) is { } answer)
            return FileQuestion.StampIn(answer);
        var buffer = stackalloc byte[StatxBytes];
        const uint Mask = StatxTypeAndSize | StatxTimesAndInode;
        if (Statx(AtCurrentDirectory, path, 0, Mask, buffer) != 0)
            return default;
        var bytes = new ReadOnlySpan<byte>(buffer, StatxBytes);
        return new FileStamp(BitConverter.ToUInt64(bytes[DeviceOffset..]),
            BitConverter.ToUInt64(bytes[InodeOffset..]), BitConverter.ToUInt64(bytes[SizeOffset..]),
            TimeAt(bytes[ModifyTimeOffset..]), TimeAt(bytes[ChangeTimeOffset..]));
    }

    /// <summary>Seconds and nanoseconds.</summary>
    private static Int128 TimeAt(ReadOnlySpan<byte> bytes) =>
        ((Int128)BitConverter.ToInt64(bytes) << 32) + BitConverter.ToUInt32(bytes[8..]);

    /// <summary>Reads all of it.</summary>
    /// <returns>Null, or what is wrong, as it reads after the path.</returns>
    public static string? TryRead(string path, out byte[] content)
    {
        content = [];
        using var wait = FileWait.Begin(path);
        if (TryAskOther(FileQuestion.Content, path) is { } answer)
            return FileQuestion.ContentIn(answer, out content);
        // Checked first: just opening a device may have effects, as with a watchdog or a tape.
        if (!TryStat(AtCurrentDirectory, path, out var mode, out var size))
            return LastError();
        if (Refuse(mode, size) is { } problem)
            return problem;
        var fd = Open(path, OpenFlags);
        if (fd < 0)
            return LastError();
        try
        {
            // The file may have been replaced in between.
            return !TryStat(fd, "", out mode, out size) ? LastError()
                : Refuse(mode, size) ?? TryReadAll(fd, MaxBytes, out content);
        }
        finally
        {
            _ = Close(fd);
        }
    }

    /// <returns>Null if this process has to make the call: its thread can be ended, or there is no
    /// child.</returns>
    private static byte[]? TryAskOther(string question, string path) =>
        path.Length > 0 && FileProcess.IsFor(path) ? FileProcess.Ask(question, path) : null;

    /// <summary>Reads to the end. Files of /proc have size 0, and any file may grow meanwhile: the size is no
    /// bound.</summary>
    /// <returns>Null, or what is wrong.</returns>
    internal static string? TryReadAll(int fd, int most, out byte[] content)
    {
        content = [];
        // Some files of /proc take whole words or pages only. Not an array: so large a one is collected late,
        // and a few of them make the collector walk the whole heap.
        var room = most + 4096;
        var buffer = (byte*)NativeMemory.Alloc((nuint)room);
        try
        {
            var length = 0;
            while (length < room)
            {
                var read = Read(fd, buffer + length, (nuint)(room - length));
                if (read == 0)
                {
                    content = length <= most ? new ReadOnlySpan<byte>(buffer, length).ToArray() : [];
                    return length <= most ? null : TooLarge;
                }

                if (read > 0)
                    length += (int)read;
                else if (Marshal.GetLastPInvokeError() != Eintr)
                    return LastError();
            }

            return TooLarge;
        }
        finally
        {
            NativeMemory.Free(buffer);
        }
    }

    private const string TooLarge = "is larger than 1 MiB, the most that is read";

    private static string? Refuse(int mode, ulong size) => (mode & TypeMask) switch
    {
        TypeRegular => size > MaxBytes ? TooLarge : null,
        TypeDirectory => Not("a directory"),
        0x1000 => Not("a FIFO or a pipe"),
        0x2000 => Not("a character device"),
        0x6000 => Not("a block device"),
        0xC000 => Not("a socket"),
        _ => Not("no file"),
    };

    private static string Not(string what) => $"is {what}; expected a regular file";

    private static bool TryStat(int directory, string path, out int mode, out ulong size)
    {
        var buffer = stackalloc byte[StatxBytes];
        var found = Statx(directory, path, path.Length == 0 ? AtEmptyPath : 0, StatxTypeAndSize, buffer) == 0;
        var bytes = new ReadOnlySpan<byte>(buffer, StatxBytes);
        mode = found ? BitConverter.ToUInt16(bytes[ModeOffset..]) : 0;
        size = found ? BitConverter.ToUInt64(bytes[SizeOffset..]) : 0;
        return found;
    }

    private static string LastError()
    {
        var errno = Marshal.GetLastPInvokeError();
        return errno == Eagain
            ? "cannot be read without waiting: another process holds a lease on it, or it is no plain file"
            : $"cannot be read: {Marshal.GetPInvokeErrorMessage(errno)}";
    }
}
