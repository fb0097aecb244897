using System.Text;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// The listening socket and its path. Takes over a stale path, refuses a live one and anything that is no
/// socket, and never deletes what it did not create.
/// </summary>
internal sealed class HandoffListener : IDisposable
{
    private readonly string _path;
    private FileIdentity _identity;

    private HandoffListener(string path, int fd)
    {
        _path = path;
        Fd = fd;
    }

    public int Fd { get; private set; }

    /// <exception cref="HandoffServerException">The path cannot be listened on; the message says
    /// why.</exception>
    public static HandoffListener Bind(HandoffServerOptions options)
    {
        var path = options.SocketPath;
        var address = AddressOf(path);
        RemoveIfStale(path, address);

        var type = options.UseStreamSocket ? SockStream : SockSeqPacket;
        var fd = LinuxNative.Socket(AfUnix, type | SockCloExec | SockNonBlock);
        if (fd < 0)
            throw Failure("socket", path, fd);
        var listener = new HandoffListener(path, fd);
        try
        {
            listener.BindWithMode(address, options);
            return listener;
        }
        catch
        {
            listener.Dispose();
            throw;
        }
    }

    private void BindWithMode(in UnixAddress address, HandoffServerOptions options)
    {
        // bind(2) gives the path the socket inode's mode less the umask: with both set, there is no moment at
        // which the path is visible with another mode.
        var error = LinuxNative.FChmod(Fd, options.SocketMode);
        if (error == 0)
        {
            var umask = LinuxNative.Umask(0x1FF & ~(uint)options.SocketMode);
            error = LinuxNative.Bind(Fd, address);
            _ = LinuxNative.Umask(umask);
        }

        if (error < 0)
            throw Failure("bind", _path, error);
        if (FileIdentity.Read(_path, out _identity) < 0)
            throw new HandoffServerException($"{_path}: the socket vanished as soon as it was bound");
        error = LinuxNative.Listen(Fd, options.Backlog);
        if (error < 0)
        {
            Unlink();
            throw Failure("listen", _path, error);
        }
    }

    /// <summary>Removes the path, if it still names our socket.</summary>
    public void Unlink()
    {
        if (_identity == default)
            return;
        if (FileIdentity.Read(_path, out var now) == 0 && now == _identity)
            _ = LinuxNative.Unlink(_path);
        _identity = default;
    }

    public void Dispose()
    {
        if (Fd < 0)
            return;
        _ = LinuxNative.Close(Fd);
        Fd = -1;
    }

    /// <exception cref="HandoffServerException">The path is empty or too long for a socket.</exception>
    internal static unsafe UnixAddress AddressOf(string path)
    {
        var length = Encoding.UTF8.GetByteCount(path);
        if (length is 0 or > UnixAddress.MaxPathBytes || path.Contains('\0'))
        {
            throw new HandoffServerException(
                $"socket path '{path}': {length} bytes; a Unix socket's path has 1 to "
                + $"{UnixAddress.MaxPathBytes}");
        }

        var address = new UnixAddress { Family = AfUnix };
        Encoding.UTF8.GetBytes(path, new Span<byte>(address.Path, UnixAddress.MaxPathBytes));
        return address;
    }

    /// <summary>Looks at what stands at the path, and changes nothing.</summary>
    /// <returns>Whether a stale socket is there to be taken over.</returns>
    /// <exception cref="HandoffServerException">Something is there that must be left alone.</exception>
    internal static bool IsStale(string path, in UnixAddress address)
    {
        var status = FileIdentity.Read(path, out var existing);
        if (status == -Errno.NoEnt)
            return false;
        if (status < 0)
            throw Failure("stat", path, status);
        if (!existing.IsSocket)
        {
            throw new HandoffServerException(
                $"{path}: exists and is no socket; it is left as it is. Choose another path with --socket");
        }

        switch (Probe(address))
        {
            case 0 or -Errno.Prototype or -Errno.Again:
                throw new HandoffServerException(
                    $"{path}: a daemon is listening there already. Stop it first, or choose another "
                    + "path with --socket", Errno.AddrInUse);
            case -Errno.NoEnt:
                return false;
            case -Errno.ConnRefused:
                // Nobody listens: left behind by a daemon that was killed.
                return true;
            case var other:
                throw Failure("connect, to see whether a daemon listens there", path, other);
        }
    }

    private static void RemoveIfStale(string path, in UnixAddress address)
    {
        if (!IsStale(path, address))
            return;
        var error = LinuxNative.Unlink(path);
        if (error < 0 && error != -Errno.NoEnt)
            throw Failure("unlink of the stale socket", path, error);
    }

    private static int Probe(in UnixAddress address)
    {
        var fd = LinuxNative.Socket(AfUnix, SockSeqPacket | SockCloExec | SockNonBlock);
        if (fd < 0)
            return fd;
        var result = LinuxNative.Connect(fd, address);
        _ = LinuxNative.Close(fd);
        return result;
    }

    private static HandoffServerException Failure(string call, string path, int error)
    {
        var mend = -error switch
        {
            Errno.Access or Errno.Perm =>
                " The user of this process needs write permission on the directory.",
            Errno.NoEnt => " The directory does not exist: create it first.",
            _ => "",
        };
        return new HandoffServerException($"{path}: {call}: {LinuxNative.Describe(error)}.{mend}", -error);
    }
}
