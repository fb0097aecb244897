using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace StreamingDaemon.Host.Delivery;

/// <summary>Files that outlive a power cut, and that only the daemon's user may read.</summary>
internal static partial class SpoolFiles
{
    private const UnixFileMode Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode DirectoryMode = Mode | UnixFileMode.UserExecute;
    private const string LinuxOnly = "The daemon runs on Linux only.";

    // sys/file.h: LOCK_EX | LOCK_NB.
    private const int LockExclusivelyNow = 2 | 4;

    // unistd.h: W_OK | X_OK.
    private const int WriteAndEnter = 2 | 1;

    // fcntl.h: O_RDONLY | O_CLOEXEC, and O_WRONLY | O_CREAT | O_CLOEXEC; the same on x86-64 and arm64.
    // fsync(2) takes a directory opened like the first.
    private const int OpenFlags = 0x80000;
    private const int CreateFlags = 0x80000 | 0x40 | 0x1;
    private const int NonBlocking = 0x800;

    // errno.h: ENOENT, ENOTDIR.
    private const int NoEntry = 2;
    private const int NotADirectory = 20;

    /// <summary>A link may lead to what is not to be sent.</summary>
    private static readonly EnumerationOptions s_noLinks = new()
    {
        AttributesToSkip = FileAttributes.ReparsePoint,
        IgnoreInaccessible = false,
    };

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8,
        SetLastError = true)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "access", StringMarshalling = StringMarshalling.Utf8,
        SetLastError = true)]
    private static partial int Access(string path, int mode);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int Flock(SafeFileHandle file, int operation);

    /// <summary>Makes the directory and those above it, if it is not there.</summary>
    /// <exception cref="IOException">It cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">It cannot be made.</exception>
    [SuppressMessage("Interoperability", "CA1416", Justification = LinuxOnly)]
    public static void CreateDirectory(string path) => Directory.CreateDirectory(path, DirectoryMode);

    /// <summary>Whether this user may make files in the directory.</summary>
    public static bool IsWritable(string directory) =>
        Directory.Exists(directory) && Access(directory, WriteAndEnter) == 0;

    /// <summary>Whether nothing has this name, and that is known.</summary>
    public static bool IsGone(string path) =>
        Access(path, 0) != 0 && Marshal.GetLastPInvokeError() is NoEntry or NotADirectory;

    /// <summary>The files of a directory that are no links; none if it is not there.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It cannot be read.</exception>
    public static IEnumerable<string> In(string directory) =>
        Directory.Exists(directory) ? Directory.EnumerateFiles(directory, "*", s_noLinks) : [];

    /// <summary>Writes a new file, and returns once its content is on the disk. Its name is there only after
    /// <see cref="SyncDirectory"/>.</summary>
    /// <exception cref="IOException">The disk is full, or fails.</exception>
    /// <exception cref="UnauthorizedAccessException">The directory is not writable.</exception>
    public static void WriteDurably(string path, ReadOnlySpan<byte> content)
    {
        using var file = Open(path, FileMode.CreateNew);
        file.Write(content);
        file.Flush(flushToDisk: true);
    }

    /// <summary>Opens a file to read it.</summary>
    /// <exception cref="FileNotFoundException">It is gone, or no file: opening a FIFO must not wait for a
    /// writer.</exception>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public static FileStream OpenToRead(string path)
    {
        var handle = new SafeFileHandle(Open(path, OpenFlags | NonBlocking, 0), ownsHandle: true);
        if (!handle.IsInvalid)
        {
            var file = new FileStream(handle, FileAccess.Read, bufferSize: 0);
            if (file.CanSeek)
                return file;
            file.Dispose();
            throw new FileNotFoundException(null, path);
        }

        var error = Marshal.GetLastPInvokeError();
        handle.Dispose();
        throw error is NoEntry or NotADirectory ? new FileNotFoundException(null, path)
            : new IOException(Marshal.GetPInvokeErrorMessage(error));
    }

    /// <summary>Replaces a file at once: a reader finds the old content or the new one.</summary>
    /// <param name="path">The file.</param>
    /// <param name="content">All of it.</param>
    /// <param name="isForAll">Others may read it too, if they may enter its directory.</param>
    [SuppressMessage("Interoperability", "CA1416", Justification = LinuxOnly)]
    public static void Replace(string path, ReadOnlySpan<byte> content, bool isForAll = false)
    {
        var temporary = path + ".new";
        try
        {
            using (var file = Open(temporary, FileMode.Create))
            {
                file.Write(content);
                if (isForAll)
                {
                    File.SetUnixFileMode(
                        file.SafeFileHandle, Mode | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
                }
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (IOException)
        {
            // On a full disk, half a file would take the place of the next.
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Sets when a file was written last, if it is there and may be changed.</summary>
    public static void SetTime(string path, DateTime time)
    {
        try
        {
            File.SetLastWriteTimeUtc(path, time);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It keeps its time.
        }
    }

    /// <summary>The path of an open file now, as the kernel says it: proc(5), /proc/pid/fd.</summary>
    /// <returns>Null if there is no /proc.</returns>
    public static string? NameOf(SafeFileHandle file)
    {
        try
        {
            return new FileInfo($"/proc/self/fd/{file.DangerousGetHandle()}").LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Returns once the names in the directory are on the disk.</summary>
    /// <exception cref="IOException">The disk fails.</exception>
    public static void SyncDirectory(string path)
    {
        using var directory = new SafeFileHandle(Open(path, OpenFlags, 0), ownsHandle: true);
        if (directory.IsInvalid || Fsync(directory) != 0)
            throw new IOException($"{path}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
    }

    /// <summary>Takes a lock that ends with the process, however it ends.</summary>
    /// <returns>The lock; null if another process has it.</returns>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    public static SafeFileHandle? TryLock(string path)
    {
        // Not by the runtime, which takes a lock of its own, and throws if another process has one.
        var file = new SafeFileHandle(Open(path, CreateFlags, (int)Mode), ownsHandle: true);
        if (file.IsInvalid)
            throw new IOException($"{path}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
        if (Flock(file, LockExclusivelyNow) == 0)
            return file;
        file.Dispose();
        return null;
    }

    [SuppressMessage("Interoperability", "CA1416", Justification = LinuxOnly)]
    private static FileStream Open(string path, FileMode how) => new(path, new FileStreamOptions
    {
        Mode = how,
        Access = FileAccess.Write,
        // No lock of the runtime's own.
        Share = FileShare.ReadWrite | FileShare.Delete,
        UnixCreateMode = Mode,
        BufferSize = 0,
    });
}
