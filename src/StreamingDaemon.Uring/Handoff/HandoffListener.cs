using System.Text;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Threads;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// The listening socket and its path. Takes over a stale path, refuses a live one unless it is told to take
/// that over too, refuses anything that is no socket, and never deletes what it did not create. A socket that
/// the service manager passed stays the service manager's.
/// </summary>
internal sealed class HandoffListener : IDisposable
{
    /// <summary>How long to wait for the lock when there are no streams any more.</summary>
    public const int LastPatienceMs = 100;

    /// <summary>How long the loop waits for the file system when a drain begins: normally the path is gone
    /// before the queue is emptied.</summary>
    private const int DrainPatienceMs = 50;

    private FileIdentity _identity;
    private bool _refusesMore;
    private bool _isUnlinked;

    private HandoffListener(string path, int fd, bool isPassed)
    {
        Path = path;
        Fd = fd;
        IsPassed = isPassed;
    }

    public int Fd { get; private set; }

    /// <summary>The service manager holds it too, and may set its options at any time.</summary>
    public bool IsPassed { get; }

    /// <summary>Where clients find it.</summary>
    public string Path { get; }

    /// <summary>Why <see cref="Unlink(int)"/> left the path; null if it did not.</summary>
    public string? Left { get; private set; }

    /// <exception cref="HandoffServerException">The path is unusable, or the passed socket is of the wrong
    /// kind; the message says why.</exception>
    public static HandoffListener Open(HandoffServerOptions options) =>
        options.PassedSocket >= 0 ? Adopt(options) : Bind(options, GroupOf(options));

    /// <summary>As above; a file system that does not answer ends it with that.</summary>
    /// <param name="options">What the server was told.</param>
    /// <param name="paths">Makes the calls on the path.</param>
    public static HandoffListener Open(HandoffServerOptions options, PathThread paths)
    {
        if (options.PassedSocket >= 0)
            return Adopt(options);
        var group = GroupOf(options);
        return new PathOpening(options.SocketPath, () => Bind(options, group)).Run(paths);
    }

    private static uint? GroupOf(HandoffServerOptions options)
    {
        _ = SocketPath.AddressOf(options.SocketPath);
        return options.SocketGroup is { Length: > 0 } name ? SocketPath.GroupOf(name) : null;
    }

    private static HandoffListener Bind(HandoffServerOptions options, uint? group)
    {
        var path = options.SocketPath;
        var type = options.UseStreamSocket ? SockStream : SockSeqPacket;
        var fd = LinuxNative.Socket(AfUnix, type | SockCloExec | SockNonBlock);
        if (fd < 0)
            throw SocketPath.Failure("socket", path, fd);
        var listener = new HandoffListener(path, fd, isPassed: false);
        try
        {
            using var held = SocketPathLock.Take(path, SocketPathLock.StartPatienceMs);
            if (options.Takeover && SocketPath.IsTaken(path))
            {
                listener.ListenBeside(options, group, replace: true);
            }
            else
            {
                SocketPath.RemoveIfStale(path);
                if (group is null)
                    listener.ListenAt(path, options, null);
                else
                    listener.ListenBeside(options, group, replace: false);
            }

            return listener;
        }
        catch
        {
            listener.Dispose();
            throw;
        }
    }

    private static HandoffListener Adopt(HandoffServerOptions options)
    {
        var fd = options.PassedSocket;
        if (LinuxNative.GetSockOpt(fd, SolSocket, SoAcceptConn, out var listening) < 0 || listening == 0
            || LinuxNative.GetSockOpt(fd, SolSocket, SoDomain, out var domain) < 0 || domain != AfUnix)
        {
            throw new HandoffServerException(
                $"LISTEN_FDS: descriptor {fd} is no listening Unix socket. The socket unit needs "
                + "ListenSequentialPacket= or ListenStream= with a path, and Accept=no");
        }

        _ = LinuxNative.GetSockOpt(fd, SolSocket, SoType, out var type);
        if (type != (options.UseStreamSocket ? SockStream : SockSeqPacket))
        {
            throw new HandoffServerException(type == SockStream
                ? "LISTEN_FDS: the socket is a stream socket and server.socket_type is seqpacket. Use "
                    + "ListenSequentialPacket= in the socket unit, or --socket-type stream"
                : "LISTEN_FDS: the socket is not a stream socket and server.socket_type is stream. Use "
                    + "ListenStream= in the socket unit, or --socket-type seqpacket");
        }

        _ = FileNative.Fcntl(fd, FileNative.SetDescriptorFlags, FileNative.CloseOnExec);
        var flags = FileNative.Fcntl(fd, FileNative.GetStatusFlags, 0);
        _ = FileNative.Fcntl(fd, FileNative.SetStatusFlags, flags | SockNonBlock);
        AncillaryData.Prepare(fd);
        return new HandoffListener(FileNative.BoundPath(fd), fd, isPassed: true);
    }

    /// <summary>
    /// Listens under a temporary name first, and moves it to the path once it is complete. So no process ever
    /// finds a wrong mode, a wrong group, or a socket without a listener there.
    /// </summary>
    private void ListenBeside(HandoffServerOptions options, uint? group, bool replace)
    {
        var directory = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path))!;
        var beside = System.IO.Path.Combine(directory, $".{Environment.ProcessId}.new");
        // Left by a process with our number that was killed during this; the lock keeps others out.
        SocketPath.RemoveIfStale(beside);
        ListenAt(beside, options, group);
        // The identity is the inode's, and goes with it.
        var error = replace ? FileNative.Rename(beside, Path) : FileNative.Link(beside, Path);
        if (error < 0 || !replace)
            _ = LinuxNative.Unlink(beside);
        if (error < 0)
            throw SocketPath.Failure(replace ? "rename" : "link", Path, error);
    }

    private void ListenAt(string path, HandoffServerOptions options, uint? group)
    {
        // bind(2) gives the path the socket inode's mode less the umask: with both set, the path is never
        // visible with another mode. Until the group is set, the mode is 0: nobody can connect.
        var mode = group is null ? options.SocketMode : 0;
        var call = "bind";
        var error = LinuxNative.FChmod(Fd, mode);
        if (error == 0)
        {
            var umask = LinuxNative.Umask(0x1FF & ~(uint)mode);
            error = SocketPath.WithAddress(path, address => LinuxNative.Bind(Fd, address));
            _ = LinuxNative.Umask(umask);
        }

        if (error < 0)
            throw SocketPath.Failure(call, path, error);
        if (FileIdentity.Read(path, out _identity) < 0)
            throw new HandoffServerException($"{path}: the socket vanished as soon as it was bound");
        if (group is { } id)
            error = SetGroup(path, id, options, ref call);
        if (error == 0)
            (call, error) = ("listen", LinuxNative.Listen(Fd, options.Backlog));
        if (error == 0)
            return;
        if (SocketPath.Is(path, _identity))
            _ = LinuxNative.Unlink(path);
        throw call == "chown" && error == -Errno.Perm
            ? SocketPath.MayNotGiveTo(options.SocketGroup!)
            : SocketPath.Failure(call, path, error);
    }

    private static int SetGroup(string path, uint group, HandoffServerOptions options, ref string call)
    {
        call = "chown";
        var error = FileNative.ChangeGroup(path, group);
        if (error < 0)
            return error;
        call = "chmod";
        return FileNative.Chmod(path, options.SocketMode);
    }

    /// <summary>Removes the path, if it still names our socket. If the lock is held, a later call tries
    /// again.</summary>
    /// <param name="patienceMs">How long to wait for another holder of the lock.</param>
    public void Unlink(int patienceMs = 0)
    {
        if (_identity == default)
        {
            Left = null;
            return;
        }

        try
        {
            using var held = SocketPathLock.Take(Path, patienceMs);
            if (SocketPath.Is(Path, _identity))
                _ = LinuxNative.Unlink(Path);
            _identity = default;
            Left = null;
        }
        catch (HandoffServerException e)
        {
            // Without the lock it might be a successor's by now: keep it; the next start finds it stale.
            Left = e.Message;
        }
    }

    /// <summary>As above, by the thread of the path. While there are streams they stall as long as it takes,
    /// so it waits for nobody.</summary>
    public void Unlink(PathThread paths, bool hasStreams)
    {
        if (IsPassed || _isUnlinked)
            return;
        var (lockMs, callMs) = hasStreams ? (0, DrainPatienceMs) : (LastPatienceMs, PathOpening.PatienceMs);
        if (!paths.TryRun(() => Unlink(lockMs), callMs))
            Left = PathOpening.Silence(Path);
        else
            _isUnlinked = Left is null;
    }

    /// <summary>
    /// Takes what was queued before this moment, and closes the queue: later connects are refused, and try
    /// again. From a passed socket it takes nothing: that queue is left to the next start.
    /// </summary>
    /// <returns>A connection, or a negative errno: EAGAIN if none is left.</returns>
    public int AcceptQueued()
    {
        if (IsPassed)
            return -Errno.Again;
        if (!_refusesMore)
        {
            // A process that found the path before its removal may still be connecting. The kernel refuses to
            // connect to a listener shut down for reading (unix_stream_connect; unix(7) does not say it), and
            // still hands out what is queued.
            _ = LinuxNative.Shutdown(Fd, ShutRd);
            _refusesMore = true;
        }

        return LinuxNative.Accept(Fd);
    }

    /// <summary>Gives up the descriptor: closing it releases queued connections that were not
    /// accepted.</summary>
    /// <returns>-1 if that was done before.</returns>
    public int TakeDescriptor()
    {
        var fd = Fd;
        Fd = -1;
        return fd;
    }

    public void Dispose()
    {
        if (TakeDescriptor() is >= 0 and var fd)
            _ = LinuxNative.Close(fd);
    }
}
