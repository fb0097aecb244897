using System.Runtime.InteropServices;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Handoff;

/// <summary>What happens at the socket's path if more than one process wants it.</summary>
public sealed partial class SocketPathTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly string _path;

    public SocketPathTests() => _path = _directory.File("s");

    public void Dispose() => _directory.Dispose();

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int Statx(int directory, string path, int flags, uint mask, byte* buffer);

    [LibraryImport("libc", EntryPoint = "getegid")]
    private static partial uint OwnGroup();

    [Trait("Takes", "Long")]
    [Fact]
    public void Of_two_that_race_for_a_stale_path_one_wins_and_keeps_it()
    {
        for (var round = 0; round < 200; round++)
        {
            var stale = Open();
            stale.Dispose();
            Assert.True(File.Exists(_path));

            using var start = new Barrier(4);
            var results = new HandoffListener?[4];
            var errors = new HandoffServerException?[4];
            var threads = Enumerable.Range(0, 4).Select(i => new Thread(() =>
            {
                start.SignalAndWait();
                try
                {
                    results[i] = Open();
                }
                catch (HandoffServerException e)
                {
                    errors[i] = e;
                }
            })).ToList();
            threads.ForEach(t => t.Start());
            threads.ForEach(t => t.Join());

            var winner = Assert.Single(results, r => r is not null)!;
            Assert.All(errors.Where(e => e is not null), e => Assert.Equal(Errno.AddrInUse, e!.Errno));
            Assert.Equal(0, Connect(_path));
            Assert.True(Accept(winner) >= 0);
            winner.Unlink();
            winner.Dispose();
            Assert.Empty(Directory.GetFileSystemEntries(_directory.Path));
        }
    }

    [Fact]
    public async Task Takeover_leaves_no_moment_without_a_listener()
    {
        var first = Open();
        var refused = new List<int>();
        var connects = 0;
        var stop = false;
        var connecting = Task.Run(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                if (Connect(_path) is < 0 and var error)
                    refused.Add(error);
                Interlocked.Increment(ref connects);
            }
        });
        await Eventually.TrueAsync(() => Volatile.Read(ref connects) > 0);

        var listeners = new List<HandoffListener> { first };
        for (var i = 0; i < 300; i++)
        {
            listeners.Add(Open(o => o with { Takeover = true }));
            // The one before ends: its path is its successor's.
            listeners[^2].Unlink();
            while (listeners[^2].AcceptQueued() is >= 0 and var fd)
                _ = LinuxNative.Close(fd);
            listeners[^2].Dispose();
        }

        Volatile.Write(ref stop, true);
        await connecting;
        // Only a client that had found the old one just before it ended is refused; it finds the new one
        // then.
        Assert.All(refused, e => Assert.Equal(-Errno.ConnRefused, e));
        Assert.True(refused.Count < 300, $"{refused.Count} of {connects}");
        Assert.Equal(0, Connect(_path));
        listeners[^1].Unlink();
        listeners[^1].Dispose();
        Assert.Empty(Directory.GetFileSystemEntries(_directory.Path));
    }

    [Fact]
    public void Takeover_of_what_is_no_socket_is_refused()
    {
        File.WriteAllText(_path, "mine");

        var error = Assert.Throws<HandoffServerException>(() => Open(o => o with { Takeover = true }));

        Assert.Contains("no socket", error.Message, StringComparison.Ordinal);
        Assert.Equal("mine", File.ReadAllText(_path));
    }

    [Fact]
    public void Symbolic_link_at_the_path_is_refused_and_not_followed()
    {
        using var elsewhere = Open(o => o with { SocketPath = _directory.File("elsewhere") });
        File.CreateSymbolicLink(_path, _directory.File("elsewhere"));

        foreach (var takeover in (bool[])[false, true])
        {
            var error = Assert.Throws<HandoffServerException>(() => Open(o => o with { Takeover = takeover }));
            Assert.Contains("no socket", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0, Connect(_directory.File("elsewhere")));
    }

    [Fact]
    public void Name_left_beside_by_a_killed_start_is_no_hindrance()
    {
        using var first = Open();
        var left = _directory.File($".{Environment.ProcessId}.new");
        Open(o => o with { SocketPath = left }).Dispose();
        Assert.True(File.Exists(left));

        using var second = Open(o => o with { Takeover = true });

        Assert.False(File.Exists(left));
        Assert.Equal(0, Connect(_path));
        Assert.True(Accept(second) >= 0);
    }

    [Fact]
    public void Path_whose_mode_was_changed_meanwhile_is_still_removed_at_the_end()
    {
        using var listener = Open();
        File.SetUnixFileMode(_path, UnixFileMode.UserRead);

        listener.Unlink();

        Assert.False(File.Exists(_path));
    }

    [Fact]
    public void Latecomer_is_refused_and_not_lost_once_the_queue_was_taken()
    {
        using var listener = Open();
        // As one that has found the socket before its path was removed.
        Assert.Equal(0, FileNative.Link(_path, _directory.File("found")));
        Assert.Equal(0, Connect(_path));
        listener.Unlink();

        Assert.True(listener.AcceptQueued() >= 0);
        Assert.Equal(-Errno.Again, listener.AcceptQueued());
        Assert.Equal(-Errno.ConnRefused, Connect(_directory.File("found")));
    }

    [Fact]
    public async Task Group_and_mode_hold_from_the_first_moment_the_path_is_visible()
    {
        // Root may give a file to any group, others only to their own.
        var group = Environment.IsPrivilegedProcess ? 54_321 : OwnGroup();
        var seen = new HashSet<(uint Group, int Mode)>();
        var stop = false;
        var looking = Task.Run(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                if (GroupAndMode(_path) is { } found)
                    seen.Add(found);
            }
        });

        for (var i = 0; i < 300; i++)
        {
            using var listener = Open(o => o with { SocketGroup = $"{group}", SocketMode = 0x1B0 });
            Assert.Equal((group, 0x1B0), GroupAndMode(_path));
            listener.Unlink();
        }

        Volatile.Write(ref stop, true);
        await looking;
        Assert.All(seen, s => Assert.Equal((group, 0x1B0), s));
        Assert.Empty(Directory.GetFileSystemEntries(_directory.Path));
    }

    [Fact]
    public void Group_is_found_by_its_name()
    {
        using var listener = Open(o => o with { SocketGroup = NameOf(OwnGroup()) });

        Assert.Equal(OwnGroup(), GroupAndMode(_path)!.Value.Group);
    }

    [Fact]
    public void Group_that_is_not_there_is_named_and_nothing_is_left()
    {
        var error = Assert.Throws<HandoffServerException>(() => Open(o => o with { SocketGroup = "no-such-group" }));

        Assert.Contains("socket_group", error.Message, StringComparison.Ordinal);
        Assert.Contains("'no-such-group'", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_directory.Path));
    }

    [Fact]
    public void Passed_socket_keeps_its_path_and_its_queue()
    {
        using var managers = Open();
        var passed = Open(o => o with { PassedSocket = Duplicate(managers.Fd) });
        Assert.Equal(_path, passed.Path);
        Assert.Equal(0, Connect(_path));

        Assert.Equal(-Errno.Again, passed.AcceptQueued());
        passed.Unlink();
        passed.Dispose();

        Assert.Equal(0, Connect(_path));
        Assert.True(Accept(managers) >= 0);
        Assert.True(Accept(managers) >= 0);
    }

    [Fact]
    public void Passed_socket_of_another_type_is_refused_with_what_mends_it()
    {
        using var stream = Open(o => o with { UseStreamSocket = true });

        var error = Assert.Throws<HandoffServerException>(() => Open(o => o with { PassedSocket = stream.Fd }));

        Assert.Contains("ListenSequentialPacket=", error.Message, StringComparison.Ordinal);
        Assert.Contains("--socket-type stream", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Passed_descriptor_that_does_not_listen_is_refused()
    {
        var (left, right) = Posix.SocketPair(Posix.SockSeqPacket);

        var error = Assert.Throws<HandoffServerException>(() => Open(o => o with { PassedSocket = left }));

        Assert.Contains("no listening Unix socket", error.Message, StringComparison.Ordinal);
        _ = Posix.Close(left);
        _ = Posix.Close(right);
    }

    private HandoffListener Open(Func<HandoffServerOptions, HandoffServerOptions>? with = null)
    {
        var options = new HandoffServerOptions { SocketPath = _path };
        return HandoffListener.Open(with?.Invoke(options) ?? options);
    }

    /// <summary>0 if a process listens, even with a full queue; otherwise a negative errno.</summary>
    private static int Connect(string path)
    {
        try
        {
            _ = Posix.Close(Posix.ConnectUnix(path, Posix.SockSeqPacket));
            return 0;
        }
        catch (PosixException e)
        {
            return e.Errno == Errno.Again ? 0 : -e.Errno;
        }
    }

    private static int Accept(HandoffListener listener)
    {
        var fd = LinuxNative.Accept(listener.Fd);
        if (fd >= 0)
            _ = LinuxNative.Close(fd);
        return fd;
    }

    private static int Duplicate(int fd) => FileNative.Fcntl(fd, 0, 0); // F_DUPFD

    private static string NameOf(uint group) => File.ReadLines("/etc/group").Select(l => l.Split(':'))
        .First(fields => fields[2] == $"{group}")[0];

    private static unsafe (uint Group, int Mode)? GroupAndMode(string path)
    {
        // struct statx: stx_gid at 24, stx_mode at 28.
        var buffer = stackalloc byte[256];
        return Statx(FileIdentity.AtFdCwd, path, FileIdentity.AtSymlinkNoFollow, 0x7FF, buffer) < 0
            ? null
            : (*(uint*)(buffer + 24), *(ushort*)(buffer + 28) & 0x1FF);
    }
}
