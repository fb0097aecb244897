using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Limits;

/// <summary><c>--thread-pool</c>: every slot is released, however late its stream learns that it has one.
/// </summary>
public sealed class BackendConcurrencyLimiterTests
{
    [Fact]
    public async Task Slot_of_a_stream_that_ended_while_it_waited_is_released_and_no_backend_called()
    {
        var isTold = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var given = 0;
        var backend = new CountingBackend();
        await using var daemon = await InProcessDaemon.StartAsync(
            backend,
            new DaemonOptions
            {
                ThreadPool = new ThreadPoolOptions { Enabled = true, PoolSize = 1 },
                Timeouts = new TimeoutOptions { DrainTimeoutMs = 100 },
            },
            // As in a thread pool whose threads all block: the first stream learns of its slot only when the
            // test allows it.
            new(WorkerGiven: () => Interlocked.Increment(ref given) == 1 ? isTold.Task : Task.CompletedTask));
        var leaving = TestClient.HandOver(daemon.SocketPath, "{}");
        await Eventually.TrueAsync(() => Volatile.Read(ref given) == 1);

        leaving.Dispose();
        // The watchdog has ended the stream although its call still waits.
        await daemon.CountsAsync("outcome=\"ClientGone\"} 1");
        isTold.SetResult();

        using var next = TestClient.HandOver(daemon.SocketPath, "{}");
        Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(next), StringComparison.Ordinal);
        Assert.Equal(1, Volatile.Read(ref backend.Calls));
        await daemon.CountsAsync("outcome=\"Completed\"} 1");
        Assert.Equal(2, daemon.Lines.All.Count);
    }

    private sealed class CountingBackend : IStreamingBackend
    {
        public int Calls;

        public string Name => "counting";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public async Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref Calls);
            await sink.WriteAsync(new StreamDelta(Encoding.UTF8.GetBytes("one")), cancellationToken);
            return BackendResult.Completed;
        }
    }
}
