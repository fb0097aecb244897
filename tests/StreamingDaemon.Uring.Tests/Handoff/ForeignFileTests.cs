using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Handoff;

/// <summary>Files of others at the names that a start and a stop use: the lock, the name beside, the
/// path.</summary>
public sealed partial class ForeignFileTests : IDisposable
{
    private const uint AnotherUser = 54_321;
    private readonly TempDirectory _directory = new();
    private readonly string _path;
    private readonly string _lock;

    public ForeignFileTests()
    {
        _path = _directory.File("s");
        _lock = _path + SocketPathLock.Suffix;
    }

    public void Dispose() => _directory.Dispose();

    [LibraryImport("libc", EntryPoint = "lchown", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeOwner(string path, uint user, uint group);

    public static TheoryData<string, string> Kinds => new()
    {
        { "content", "a file with content" },
        { "hard link", "a file with several names" },
        { "fifo", "a FIFO" },
        { "link", "a symbolic link" },
        { "dangling link", "a symbolic link" },
        { "directory", "a directory" },
        { "socket", "a socket" },
        { "device", "a device" },
        { "another user's", "an empty file of user 54321" },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void File_at_the_locks_name_that_is_not_ours_ends_the_start_and_stays(string kind, string said)
    {
        MakeAtLock(kind);
        var before = Snapshot();

        foreach (var takeover in (bool[])[false, true])
        {
            var error = Assert.Throws<HandoffServerException>(() => Open(takeover));
            Assert.StartsWith($"{_lock}: is {said}", error.Message, StringComparison.Ordinal);
            Assert.Contains("left as it is", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(before, Snapshot());
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void File_that_came_to_the_locks_name_while_running_stays_at_the_stop(string kind, string said)
    {
        using var listener = Open();
        MakeAtLock(kind);
        var before = Snapshot();

        listener.Unlink();

        Assert.Contains($"is {said}", listener.Left, StringComparison.Ordinal);
        Assert.Equal(before, Snapshot());
        Assert.True(File.Exists(_path));
    }

    [Fact]
    public void Lock_that_is_written_to_while_it_is_held_is_not_removed()
    {
        using (SocketPathLock.Take(_path, 0))
        {
            // Not by a stream of .NET's, which would want the lock.
            var fd = FileNative.Open(_lock, FileNative.OpenReadWrite, 0);
            using var file = new SafeFileHandle(fd, ownsHandle: true);
            RandomAccess.Write(file, "mine"u8, 0);
        }

        Assert.Equal("mine", File.ReadAllText(_lock));
    }

    [Fact]
    public void Lock_that_is_replaced_while_it_is_held_is_not_removed()
    {
        using (SocketPathLock.Take(_path, 0))
        {
            File.Move(_lock, _lock + ".moved");
            File.WriteAllText(_lock, "");
        }

        Assert.True(File.Exists(_lock));
    }

    [Fact]
    public void Empty_lock_of_a_killed_start_is_taken_and_removed()
    {
        File.WriteAllText(_lock, "");

        using var listener = Open();
        listener.Unlink();

        Assert.Empty(Directory.GetFileSystemEntries(_directory.Path));
    }

    [Fact]
    public void Drain_waits_for_no_lock_and_the_end_removes_the_path_once_it_is_free()
    {
        using var listener = Open();
        var held = SocketPathLock.Take(_path, 0);

        listener.Unlink();
        Assert.Contains("another process holds this lock", listener.Left, StringComparison.Ordinal);
        Assert.True(File.Exists(_path));

        held.Dispose();
        listener.Unlink(HandoffListener.LastPatienceMs);

        Assert.Null(listener.Left);
        Assert.Empty(Directory.GetFileSystemEntries(_directory.Path));
    }

    [Fact]
    public void Live_socket_of_another_program_at_the_name_beside_is_not_removed()
    {
        using var first = Open();
        var beside = _directory.File($".{Environment.ProcessId}.new");
        using var program = HandoffListener.Open(new HandoffServerOptions { SocketPath = beside });

        var error = Assert.Throws<HandoffServerException>(() => Open(takeover: true));

        Assert.StartsWith(beside, error.Message, StringComparison.Ordinal);
        _ = Posix.Close(Posix.ConnectUnix(beside, Posix.SockSeqPacket));
        _ = Posix.Close(Posix.ConnectUnix(_path, Posix.SockSeqPacket));
    }

    [Fact]
    public void Stale_socket_of_another_user_is_left_as_it_is()
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Skip("only root may give a file to another user");
        Open().Dispose();
        Assert.Equal(0, ChangeOwner(_path, AnotherUser, AnotherUser));

        var error = Assert.Throws<HandoffServerException>(() => Open());

        Assert.Contains($"belongs to user {AnotherUser}", error.Message, StringComparison.Ordinal);
        Assert.True(File.Exists(_path));
    }

    private void MakeAtLock(string kind)
    {
        var other = _directory.File("other");
        switch (kind)
        {
            case "content":
                File.WriteAllText(_lock, "mine");
                break;
            case "hard link":
                File.WriteAllText(other, "");
                Assert.Equal(0, FileNative.Link(other, _lock));
                break;
            case "fifo":
                Assert.Equal(0, Posix.MakeFifo(_lock));
                break;
            case "link":
                File.WriteAllText(other, "");
                File.CreateSymbolicLink(_lock, other);
                break;
            case "dangling link":
                File.CreateSymbolicLink(_lock, other);
                break;
            case "directory":
                Directory.CreateDirectory(_lock);
                break;
            case "socket":
                HandoffListener.Open(new HandoffServerOptions { SocketPath = _lock }).Dispose();
                break;
            case "device":
                if (MakeNode(_lock, 0x2000 | 0x180, 0x103) != 0) // /dev/null's
                    Assert.Skip("only root may make a device");
                break;
            default:
                if (!Environment.IsPrivilegedProcess)
                    Assert.Skip("only root may give a file to another user");
                File.WriteAllText(_lock, "");
                Assert.Equal(0, ChangeOwner(_lock, AnotherUser, AnotherUser));
                break;
        }
    }

    [LibraryImport("libc", EntryPoint = "mknod", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeNode(string path, uint mode, ulong device);

    /// <summary>Every name in the directory with the file's inode, owner, mode and size.</summary>
    private string Snapshot() => string.Join('\n', Directory.GetFileSystemEntries(_directory.Path).Order()
        .Select(entry => (entry, FileIdentity.Read(entry, out var file), file)));

    private HandoffListener Open(bool takeover = false) =>
        HandoffListener.Open(new HandoffServerOptions { SocketPath = _path, Takeover = takeover });
}
