using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Streams;

/// <summary>A backend whose await ignores its cancellation token, as SDKs do on a silent stream, blocks only
/// itself.</summary>
public sealed class DeafBackendTests
{
    [Theory]
    [InlineData(false, "HTTP/1.1 504 Gateway Timeout\r\n", "FirstTokenTimeout")]
    [InlineData(true, "data: {\"content\":\"one\"}\n\ndata: {\"error\":", "IdleTimeout")]
    public async Task Silence_ends_at_its_limit_although_the_backend_does_not(
        bool hasBegun, string expected, string reason)
    {
        var backend = new DeafBackend(hasBegun);
        await using var daemon = await InProcessDaemon.StartAsync(backend, With(timeoutMs: 200));
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");

        var answer = await TestClient.ReadTextAsync(client);

        Assert.Contains(expected, answer, StringComparison.Ordinal);
        await Eventually.TrueAsync(() => daemon.Server.Statistics.ActiveConnections == 0);
        await daemon.CountsAsync($"upstream_errors_total{{reason=\"{reason}\"}} 1");
        Assert.False(backend.Ended.IsCompleted);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Client_that_leaves_is_let_go_although_the_backend_does_not_notice(bool hasBegun)
    {
        var backend = new DeafBackend(hasBegun);
        await using var daemon = await InProcessDaemon.StartAsync(backend, With(timeoutMs: 60_000));
        var client = TestClient.HandOver(daemon.SocketPath, "{}");
        await backend.Waiting.WaitAsync(TestClient.Patience);

        client.Dispose();

        await daemon.CountsAsync("outcome=\"ClientGone\"} 1");
        await Eventually.TrueAsync(() => daemon.Server.Statistics.ActiveConnections == 0);
        Assert.False(backend.Ended.IsCompleted);
    }

    [Fact]
    public async Task Backend_that_wakes_up_after_its_stream_writes_to_nobody()
    {
        var backend = new DeafBackend(hasBegun: true);
        await using var daemon = await InProcessDaemon.StartAsync(backend, With(timeoutMs: 200));
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadTextAsync(client);
        await Eventually.TrueAsync(() => daemon.Server.Statistics.ActiveConnections == 0);
        var sent = daemon.Server.Statistics.BytesSent;

        backend.WakeUp();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => backend.Ended.WaitAsync(TestClient.Patience));
        Assert.Equal(sent, daemon.Server.Statistics.BytesSent);
    }

    private static DaemonOptions With(int timeoutMs) => new()
    {
        Streaming = new StreamingOptions { HeadWaitMs = 60_000 },
        Timeouts = new TimeoutOptions
        {
            FirstTokenTimeoutMs = timeoutMs,
            IdleTimeoutMs = timeoutMs,
            DrainTimeoutMs = 100,
        },
    };

    /// <summary>Waits until the test lets it continue, and then behaves as if it had not been cancelled.
    /// </summary>
    private sealed class DeafBackend(bool hasBegun) : IStreamingBackend
    {
        private readonly TaskCompletionSource _silence = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _waiting = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource<Task> _call = new();

        public string Name => "deaf";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public Task Waiting => _waiting.Task;

        public Task Ended => _call.Task.Unwrap();

        public void WakeUp() => _silence.SetResult();

        public Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            var call = RunAsync(sink);
            _call.SetResult(call);
            return call;
        }

        private async Task<BackendResult> RunAsync(IDeltaSink sink)
        {
            var delta = new StreamDelta(Encoding.UTF8.GetBytes("one"));
            if (hasBegun)
                await sink.WriteAsync(delta, CancellationToken.None);
            _waiting.SetResult();
            await _silence.Task;
            await sink.WriteAsync(delta, CancellationToken.None);
            return BackendResult.Completed;
        }
    }
}
