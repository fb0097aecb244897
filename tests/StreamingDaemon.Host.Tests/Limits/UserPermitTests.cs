using System.Net.Sockets;
using System.Text;
using System.Threading.RateLimiting;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Limits;

/// <summary>When a stream stops counting for its user.</summary>
public sealed class UserPermitTests
{
    [Fact]
    public async Task User_who_has_read_the_end_may_ask_again_at_once()
    {
        Socket? browser = null;
        var sentByThen = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var daemon = await InProcessDaemon.StartAsync(
            new TwoWordsBackend(),
            new DaemonOptions
            {
                RateLimit = new RateLimitOptions { ConcurrentStreams = 1 },
                Timeouts = new TimeoutOptions { DrainTimeoutMs = 100 },
            },
            new(AroundLimiter: limiter => new WatchedLimiter(limiter, () =>
            {
                if (!sentByThen.Task.IsCompleted)
                    sentByThen.SetResult(Peek(browser!));
            })));
        var (ours, theirs) = Posix.SocketPair();
        browser = Posix.ToSocket(ours);
        TestClient.HandOverDescriptor(daemon.SocketPath, """{"user_id":7}"""u8, theirs);
        _ = Posix.Close(theirs);

        // Nothing was read until now. The permit is released before the end is sent, so before any client can
        // read the end and ask again.
        Assert.DoesNotContain("[DONE]", await sentByThen.Task.WaitAsync(TestClient.Patience), StringComparison.Ordinal);

        Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadUntilAsync(browser, "[DONE]\n\n"), StringComparison.Ordinal);
        using var next = TestClient.HandOver(daemon.SocketPath, """{"user_id":7}""");
        Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(next), StringComparison.Ordinal);
        browser.Dispose();
    }

    [Fact]
    public async Task Streams_that_run_at_once_are_never_more_than_the_limit()
    {
        var running = 0;
        var counts = new List<int>();
        var backend = new TwoWordsBackend(async () =>
        {
            var now = Interlocked.Increment(ref running);
            lock (counts)
                counts.Add(now);
            await Task.Yield();
            Interlocked.Decrement(ref running);
        });
        await using var daemon = await InProcessDaemon.StartAsync(
            backend,
            new DaemonOptions
            {
                RateLimit = new RateLimitOptions { ConcurrentStreams = 2 },
                Timeouts = new TimeoutOptions { DrainTimeoutMs = 100 },
            });

        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(async () =>
        {
            for (var i = 0; i < 100; i++)
            {
                using var client = TestClient.HandOver(daemon.SocketPath, """{"user_id":7}""");
                await TestClient.ReadTextAsync(client);
            }
        })));

        Assert.InRange(counts.Max(), 1, 2);
    }

    /// <summary>The data that waits in the socket, without reading it.</summary>
    private static string Peek(Socket socket)
    {
        var buffer = new byte[4096];
        return socket.Poll(0, SelectMode.SelectRead)
            ? Encoding.UTF8.GetString(buffer, 0, socket.Receive(buffer, SocketFlags.Peek)) : "";
    }

    private sealed class WatchedLimiter(PartitionedRateLimiter<UserId> inner, Action givenBack)
        : PartitionedRateLimiter<UserId>
    {
        public override RateLimiterStatistics? GetStatistics(UserId resource) => inner.GetStatistics(resource);

        protected override RateLimitLease AttemptAcquireCore(UserId resource, int permitCount) =>
            new WatchedLease(inner.AttemptAcquire(resource, permitCount), givenBack);

        protected override ValueTask<RateLimitLease> AcquireAsyncCore(
            UserId resource, int permitCount, CancellationToken cancellationToken) =>
            inner.AcquireAsync(resource, permitCount, cancellationToken);

        protected override void Dispose(bool disposing)
        {
            inner.Dispose();
            base.Dispose(disposing);
        }
    }

    private sealed class WatchedLease(RateLimitLease inner, Action givenBack) : RateLimitLease
    {
        public override bool IsAcquired => inner.IsAcquired;

        public override IEnumerable<string> MetadataNames => inner.MetadataNames;

        public override bool TryGetMetadata(string metadataName, out object? metadata) =>
            inner.TryGetMetadata(metadataName, out metadata);

        protected override void Dispose(bool disposing)
        {
            givenBack();
            inner.Dispose();
            base.Dispose(disposing);
        }
    }

    private sealed class TwoWordsBackend(Func<Task>? running = null) : IStreamingBackend
    {
        public string Name => "words";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public async Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            await sink.WriteAsync(new StreamDelta(Encoding.UTF8.GetBytes("one")), cancellationToken);
            if (running is not null)
                await running();
            await sink.WriteAsync(new StreamDelta(Encoding.UTF8.GetBytes("two")), cancellationToken);
            return BackendResult.Completed;
        }
    }
}
