using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// Held for the moment in which a daemon looks at a socket's path and changes it. Two that start at once
/// would else both find a stale socket, and the second would remove what the first has bound; one that ends
/// would remove what its successor has just put there.
/// </summary>
/// <remarks>
/// flock(2) on a file beside the path, so that a killed holder holds nothing. The holder removes the file,
/// and whoever waited for it sees that it is gone and takes a new one.
/// </remarks>
internal readonly struct SocketPathLock : IDisposable
{
    public const string Suffix = ".lock";

    /// <summary>Longer than any honest holder needs.</summary>
    public const int StartPatienceMs = 5_000;

    private const int OwnerOnly = 0x180; // 0600

    private readonly string _path;
    private readonly int _fd;

    private SocketPathLock(string path, int fd)
    {
        _path = path;
        _fd = fd;
    }

    /// <exception cref="HandoffServerException">The directory does not allow it, or somebody else holds it
    /// all the time.</exception>
    public static SocketPathLock Take(string socketPath, int patienceMs)
    {
        var path = socketPath + Suffix;
        var deadline = Environment.TickCount64 + patienceMs;
        while (true)
        {
            var fd = FileNative.Open(path, FileNative.OpenReadWrite | FileNative.OpenCreate
                | FileNative.OpenCloExec | FileNative.OpenNoFollow, OwnerOnly);
            if (fd < 0)
                throw SocketPath.Failure("open", path, fd);
            var status = FileNative.FLock(fd, FileNative.LockExclusive | FileNative.LockNonBlocking);
            if (status == 0 && IsStillAt(path, fd))
                return new SocketPathLock(path, fd);
            _ = LinuxNative.Close(fd);
            if (status is not (0 or -Errno.Again or -Errno.Intr))
                throw SocketPath.Failure("flock", path, status);
            if (Environment.TickCount64 > deadline)
            {
                throw new HandoffServerException(
                    $"{path}: another process has held it for {patienceMs} ms; end that process",
                    Errno.Again);
            }

            if (status != 0)
                Thread.Sleep(1);
        }
    }

    public void Dispose()
    {
        _ = LinuxNative.Unlink(_path);
        _ = LinuxNative.Close(_fd);
    }

    private static bool IsStillAt(string path, int fd) =>
        FileIdentity.Read(fd, out var ours) == 0 && FileIdentity.Read(path, out var there) == 0
        && ours.IsSameFile(there);
}
