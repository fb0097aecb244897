using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Streams;

public sealed class RetryWindowTests
{
    [Fact]
    public async Task Retries_may_begin_as_long_as_the_head_can_wait()
    {
        // Minus the time that the stream has used: milliseconds, or a few seconds on a loaded machine.
        var window = await WindowAsync(headWaitMs: 60_000);
        Assert.InRange(window, TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(60));
    }

    [Fact]
    public async Task Head_that_leaves_at_once_gives_retries_a_second() =>
        Assert.Equal(TimeSpan.FromSeconds(1), await WindowAsync(headWaitMs: 0));

    private static async Task<TimeSpan> WindowAsync(int headWaitMs)
    {
        var backend = new RememberingBackend();
        var options = new DaemonOptions { Streaming = new StreamingOptions { HeadWaitMs = headWaitMs } };
        await using var daemon = await InProcessDaemon.StartAsync(backend, options);
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadTextAsync(client);
        return backend.Request!.RetryWindow;
    }

    private sealed class RememberingBackend : IStreamingBackend
    {
        public StreamRequest? Request { get; private set; }

        public string Name => "remembering";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            Request = request;
            return Task.FromResult(BackendResult.Completed);
        }
    }
}
