using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// Held while a daemon checks a socket's path and changes it. Without it, two daemons that start at once
/// would both find a stale socket, and the second would remove the first one's. One that ends would remove
/// what its successor has just bound.
/// </summary>
/// <remarks>
/// flock(2) on a file beside the path, so that a killed holder holds nothing. The holder removes the file; a
/// start that waited for it sees that it is gone and makes a new one. Only a file of this user's, empty and
/// under one name, is ever locked or removed: anything else at that name is somebody's, and stays as it is.
/// </remarks>
internal readonly struct SocketPathLock : IDisposable
{
    public const string Suffix = ".lock";

    /// <summary>Longer than any well-behaved holder needs.</summary>
    public const int StartPatienceMs = 5_000;

    private const int OwnerOnly = 0x180; // 0600

    private static int ReadWrite => FileNative.OpenReadWrite | FileNative.OpenCloExec
        | FileNative.OpenNonBlock | FileNative.OpenNoFollow;

    private readonly string _path;
    private readonly int _fd;

    private SocketPathLock(string path, int fd)
    {
        _path = path;
        _fd = fd;
    }

    /// <summary>Takes the lock; waits for another holder as long as the patience allows.</summary>
    /// <exception cref="HandoffServerException">The directory does not allow it, the file is not ours, or
    /// another process holds it all the time.</exception>
    public static SocketPathLock Take(string socketPath, int patienceMs)
    {
        var path = socketPath + Suffix;
        var deadline = Environment.TickCount64 + patienceMs;
        while (true)
        {
            var fd = TryTake(path);
            if (fd >= 0)
                return new SocketPathLock(path, fd);
            if (Environment.TickCount64 >= deadline)
            {
                throw new HandoffServerException(
                    $"{path}: another process holds this lock, and did not release it within "
                    + $"{patienceMs} ms. End that process", Errno.Again);
            }

            PathThread.ShowLife();
            Thread.Sleep(1);
        }
    }

    public void Dispose()
    {
        // Not what somebody has put there, or written into it, meanwhile.
        if (FileIdentity.Read(_fd, out var ours) == 0 && ours.IsEmptyFile && IsStillAt(_path, ours))
            _ = LinuxNative.Unlink(_path);
        _ = LinuxNative.Close(_fd);
    }

    /// <summary>Would a start get the lock? Makes no file.</summary>
    /// <exception cref="HandoffServerException">Something is there that is not ours.</exception>
    public static void Check(string socketPath)
    {
        var path = socketPath + Suffix;
        if (!IsThereAndOurs(path))
            return;
        // An open may hang (FUSE): that is what a check is to find.
        if (FileNative.Open(path, ReadWrite, 0) is >= 0 and var fd)
            _ = LinuxNative.Close(fd);
    }

    /// <summary>One attempt, which waits for nobody.</summary>
    /// <returns>The locked file, or -EAGAIN: another process holds it, or has just removed it.</returns>
    private static int TryTake(string path)
    {
        const int New = FileNative.OpenCreate | FileNative.OpenExclusive;
        var fd = FileNative.Open(path, ReadWrite | New, OwnerOnly);
        if (fd == -Errno.Exist)
        {
            // Looked at before it is opened: the open alone does something to some devices.
            if (!IsThereAndOurs(path))
                return -Errno.Again;
            fd = FileNative.Open(path, ReadWrite, 0);
            // Removed meanwhile; or a lease is on it (F_SETLEASE), which an open would wait for.
            if (fd is -Errno.NoEnt or -Errno.Again)
                return -Errno.Again;
        }

        if (fd < 0)
            throw SocketPath.Failure("open", path, fd);
        var status = FileNative.FLock(fd, FileNative.LockExclusive | FileNative.LockNonBlocking);
        if (status == 0 && FileIdentity.Read(fd, out var ours) == 0 && IsStillAt(path, ours))
            return fd;
        _ = LinuxNative.Close(fd);
        return status is 0 or -Errno.Again or -Errno.Intr
            ? -Errno.Again
            : throw SocketPath.Failure("flock", path, status);
    }

    /// <returns>False if nothing is there any more.</returns>
    private static bool IsThereAndOurs(string path)
    {
        var status = FileIdentity.Read(path, out var there);
        if (status == -Errno.NoEnt)
            return false;
        if (status < 0)
            throw SocketPath.Failure("stat", path, status);
        // No link: it is being removed at this moment.
        if (there.Links == 0)
            return false;
        var user = FileNative.EffectiveUser;
        if (there.IsEmptyFile && there.Owner == user)
            return true;
        throw new HandoffServerException(
            $"{path}: is {there.Kind} of user {there.Owner}, and not a lock of this process's user {user}; "
            + "it is left as it is. Move it away, or choose another path with --socket", Errno.Exist);
    }

    private static bool IsStillAt(string path, in FileIdentity file) =>
        FileIdentity.Read(path, out var there) == 0 && file.IsSameFile(there);
}
