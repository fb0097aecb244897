using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>A system that gives no further thread, as with /proc full of them.</summary>
public sealed class ThreadShortageTests
{
    /// <summary>What all loops share, the second loop's thread and that of its handoffs, then the
    /// first's.</summary>
    [Theory]
    [InlineData(1, "hang monitor")]
    [InlineData(2, "spare")]
    [InlineData(4, "spare")]
    [InlineData(5, "odd releases")]
    [InlineData(6, "releases")]
    [InlineData(7, "handoff data")]
    [InlineData(8, "socket path")]
    [InlineData(9, "io_uring loop 2")]
    [InlineData(10, "handoffs")]
    [InlineData(11, "io_uring loop")]
    [InlineData(12, "handoffs")]
    public async Task Start_that_is_refused_a_thread_says_so_and_leaves_nothing_behind(int refused, string name)
    {
        var before = OpenDescriptors.SocketsAndRings();
        using var directory = new TempDirectory();
        var (path, asked) = (directory.File("s"), new List<string>());
        var server = new HandoffServer(
            new HandoffServerOptions
            {
                SocketPath = path,
                Rings = 2,
                MayStartThread = thread =>
                {
                    asked.Add(thread);
                    return asked.Count != refused;
                },
            },
            new NoHandler());

        var error = await Assert.ThrowsAsync<HandoffServerException>(server.StartAsync);

        Assert.Equal((refused, name), (asked.Count, asked[^1]));
        Assert.StartsWith($"the system refuses the thread \"{name}\". Raise its limit of tasks: TasksMax=",
            error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(path));
        await Assert.ThrowsAsync<HandoffServerException>(() => server.Completion.WaitAsync(TestClient.Patience));
        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    private sealed class NoHandler : IHandoffHandler
    {
        public Task HandleAsync(ClientStream client) => throw new InvalidOperationException("nobody is to come");

        public void OnFault(ClientStream client, Exception exception) => throw exception;

        public void OnRejected(HandoffRejection reason, HandoffPeer peer) =>
            throw new InvalidOperationException("nobody is to come");
    }
}
