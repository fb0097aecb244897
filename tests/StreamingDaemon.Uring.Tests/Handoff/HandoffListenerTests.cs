using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Handoff;

public sealed class HandoffListenerTests
{
    [Theory]
    [InlineData("0600")]
    [InlineData("0666")]
    public async Task Mode_holds_from_the_first_moment_the_path_is_visible(string octal)
    {
        using var directory = new TempDirectory();
        var path = directory.File("s");
        var mode = Convert.ToInt32(octal, 8);
        var seen = new HashSet<UnixFileMode>();
        var stop = false;
        var looking = Task.Run(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                try
                {
                    seen.Add(File.GetUnixFileMode(path));
                }
                catch (FileNotFoundException)
                {
                    // Between two listeners.
                }
            }
        });

        for (var i = 0; i < 300; i++)
        {
            using var listener = HandoffListener.Open(
                new HandoffServerOptions { SocketPath = path, SocketMode = mode });
            Assert.Equal((UnixFileMode)mode, File.GetUnixFileMode(path));
            listener.Unlink();
        }

        Volatile.Write(ref stop, true);
        await looking;
        // Empty on a machine with one core: then the loop above has seen what can be seen.
        Assert.All(seen, m => Assert.Equal((UnixFileMode)mode, m));
    }

    [Fact]
    public void Path_that_does_not_fit_a_socket_address_is_refused_with_the_numbers()
    {
        var error = Assert.Throws<HandoffServerException>(() => HandoffListener.Open(
            new HandoffServerOptions { SocketPath = "/tmp/" + new string('x', 103) }));

        Assert.Contains("108 bytes", error.Message, StringComparison.Ordinal);
        Assert.Contains("107", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void Longest_path_works_for_a_takeover_and_with_a_group_too(bool takeover, bool group)
    {
        using var directory = new TempDirectory();
        // The name that is bound beside it first is longer than a socket's address.
        var below = directory.File(new string('x', 107 - directory.Path.Length - 3));
        Directory.CreateDirectory(below);
        var path = Path.Combine(below, "s");
        var options = new HandoffServerOptions
        {
            SocketPath = path,
            SocketGroup = group ? $"{Posix.EffectiveGid()}" : null,
        };

        using var listener = HandoffListener.Open(options);
        using var successor = takeover ? HandoffListener.Open(options with { Takeover = true }) : null;

        Assert.Equal([path], Directory.GetFileSystemEntries(below));
        var connection = Posix.ConnectUnix(path, Posix.SockSeqPacket);
        var accepted = (successor ?? listener).AcceptQueued();
        Assert.InRange(accepted, 0, int.MaxValue);
        Posix.Close(accepted);
        Posix.Close(connection);
        (successor ?? listener).Unlink();
        Assert.Empty(Directory.GetFileSystemEntries(below));
    }

    [Fact]
    public void Directory_that_is_not_there_is_named()
    {
        var error = Assert.Throws<HandoffServerException>(() => HandoffListener.Open(
            new HandoffServerOptions { SocketPath = "/no-such-directory/s" }));

        Assert.Contains("directory does not exist", error.Message, StringComparison.Ordinal);
    }
}
