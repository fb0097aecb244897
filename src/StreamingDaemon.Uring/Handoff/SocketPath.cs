using System.Globalization;
using System.Text;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>What a socket's path may be, and what stands there now. Changes nothing.</summary>
internal static class SocketPath
{
    /// <summary>Within the patience of <see cref="StartChecks"/>, whose check then names the group.</summary>
    private const int GroupPatienceMs = 1_500;

    /// <exception cref="HandoffServerException">The path is empty or too long for a socket.</exception>
    public static unsafe UnixAddress AddressOf(string path)
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

    /// <summary>Removes a stale socket from the path, if one is there.</summary>
    /// <exception cref="HandoffServerException">Something is there that must be left alone, or it cannot be
    /// removed.</exception>
    public static void RemoveIfStale(string path)
    {
        // Another program may have bound a new one since it was found stale.
        if (!IsStale(path, out var stale) || !Is(path, stale))
            return;
        var error = LinuxNative.Unlink(path);
        if (error < 0 && error != -Errno.NoEnt)
            throw Failure("unlink of the stale socket", path, error);
    }

    /// <summary>Does the path still name this file?</summary>
    public static bool Is(string path, in FileIdentity file) =>
        FileIdentity.Read(path, out var now) == 0 && now.IsSameFile(file);

    /// <summary>Does a socket stand at the path?</summary>
    /// <exception cref="HandoffServerException">Something else is there that must be left alone.</exception>
    public static bool IsTaken(string path) => IsTaken(path, out _);

    private static bool IsTaken(string path, out FileIdentity existing)
    {
        var status = FileIdentity.Read(path, out existing);
        if (status == -Errno.NoEnt)
            return false;
        if (status < 0)
            throw Failure("stat", path, status);
        if (existing.IsSocket)
            return true;
        throw new HandoffServerException(
            $"{path}: exists and is no socket; it is left as it is. Choose another path with --socket");
    }

    /// <summary>Does a stale socket stand at the path, to be replaced?</summary>
    /// <exception cref="HandoffServerException">Something is there that must be left alone.</exception>
    public static bool IsStale(string path) => IsStale(path, out _);

    /// <summary>As above, and which one it is.</summary>
    public static bool IsStale(string path, out FileIdentity stale)
    {
        if (!IsTaken(path, out stale))
            return false;
        switch (Probe(path))
        {
            case 0 or -Errno.Prototype or -Errno.Again:
                throw new HandoffServerException(
                    $"{path}: a daemon is listening there already. Stop it first, take over from it with "
                    + "--takeover, or choose another path with --socket", Errno.AddrInUse);
            case -Errno.NoEnt:
                return false;
            case -Errno.ConnRefused:
                // No process listens: a killed daemon left it behind, if it is our user's. A server of
                // another user may only be stopped, and wants its socket back.
                var user = FileNative.EffectiveUser;
                return stale.Owner == user ? true : throw new HandoffServerException(
                    $"{path}: nobody listens on this socket, but it belongs to user {stale.Owner} and this "
                    + $"process is user {user}; it is left as it is. Remove it, or choose another path with "
                    + "--socket", Errno.AddrInUse);
            case var other:
                throw Failure("connect, to see whether a daemon listens there", path, other);
        }
    }

    /// <summary>The number of a group given by name or number.</summary>
    /// <exception cref="HandoffServerException">There is no such group.</exception>
    public static uint GroupOf(string group)
    {
        if (uint.TryParse(group, NumberStyles.None, CultureInfo.InvariantCulture, out var id)
            && id != uint.MaxValue)
        {
            return id;
        }

        var error = FindGroup(group, out id);
        return error switch
        {
            0 => id,
            -Errno.TimedOut => throw new HandoffServerException(
                $"server.socket_group '{group}': the database of groups did not answer within "
                + $"{GroupPatienceMs} ms. Fix it (nsswitch.conf), or give the group's number",
                Errno.TimedOut),
            -Errno.NoEnt => throw new HandoffServerException(
                $"server.socket_group: this machine has no group '{group}'. Create it with groupadd, or name "
                + "one that exists", Errno.NoEnt),
            _ => throw new HandoffServerException(
                $"server.socket_group '{group}': getgrnam_r: {LinuxNative.Describe(error)}", -error),
        };
    }

    /// <summary>Asks the group database, which may be a server that does not answer (nsswitch.conf(5)). So it
    /// runs on a thread that can be left behind.</summary>
    private static int FindGroup(string group, out uint id)
    {
        (int Error, uint Id)? found = null;
        var gate = new Lock();
        var thread = new Thread(() =>
        {
            var error = FileNative.FindGroup(group, out var number);
            lock (gate)
                found = (error, number);
        })
        { IsBackground = true };
        thread.Start();
        thread.Join(GroupPatienceMs);
        lock (gate)
        {
            id = found?.Id ?? 0;
            return found?.Error ?? -Errno.TimedOut;
        }
    }

    /// <exception cref="HandoffServerException">There is no such group, or this process may not give the
    /// socket to it.</exception>
    public static void CheckMayGiveTo(string group)
    {
        if (!FileNative.MayGiveTo(GroupOf(group)))
            throw MayNotGiveTo(group);
    }

    public static HandoffServerException MayNotGiveTo(string group) => new(
        $"server.socket_group '{group}': only root, or a member of the group, may give the socket to it",
        Errno.Perm);

    public static HandoffServerException Failure(string call, string path, int error)
    {
        var hint = -error switch
        {
            Errno.Access or Errno.Perm =>
                " The user of this process needs write permission on the directory.",
            Errno.NoEnt => " The directory does not exist: create it first.",
            _ => "",
        };
        return new HandoffServerException($"{path}: {call}: {LinuxNative.Describe(error)}.{hint}", -error);
    }

    private static int Probe(string path)
    {
        var fd = LinuxNative.Socket(AfUnix, SockSeqPacket | SockCloExec | SockNonBlock);
        if (fd < 0)
            return fd;
        var result = WithAddress(path, address => LinuxNative.Connect(fd, address));
        _ = LinuxNative.Close(fd);
        return result;
    }

    /// <summary>Calls with the path's address. The name beside a path may be longer than a socket's address:
    /// then it is found from its directory's descriptor.</summary>
    public static int WithAddress(string path, Func<UnixAddress, int> call)
    {
        if (Encoding.UTF8.GetByteCount(path) <= UnixAddress.MaxPathBytes)
            return call(AddressOf(path));
        var directory = FileNative.Open(Path.GetDirectoryName(path)!,
            FileNative.OpenPath | FileNative.OpenCloExec, 0);
        if (directory < 0)
            return directory;
        var result = call(AddressOf($"/proc/self/fd/{directory}/{Path.GetFileName(path)}"));
        _ = LinuxNative.Close(directory);
        return result;
    }
}
