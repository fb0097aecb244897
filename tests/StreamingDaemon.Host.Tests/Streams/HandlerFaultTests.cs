using System.Text;
using System.Text.RegularExpressions;
using System.Threading.RateLimiting;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Streams;

/// <summary>A bug in the daemon itself, between the handoff and its backend.</summary>
public sealed partial class HandlerFaultTests
{
    [Fact]
    public async Task Fault_before_the_backend_is_a_500_with_the_request_id_and_one_line_in_the_log()
    {
        await using var daemon = await StartAsync(_ => throw new InvalidOperationException("a defect of ours"));
        using var client = TestClient.HandOver(daemon.SocketPath, """{"user_id":7,"request_id":"of-the-site"}""");

        var answer = await TestClient.ReadTextAsync(client);

        Assert.StartsWith("HTTP/1.1 500 Internal Server Error\r\n", answer, StringComparison.Ordinal);
        Assert.EndsWith("\"request_id\":\"of-the-site\"}}\n", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("defect", answer, StringComparison.Ordinal);
        await daemon.CountsAsync("outcome=\"InternalError\"} 1");
        var line = Assert.Single(daemon.Lines.All);
        Assert.StartsWith("stream InternalError request_id=of-the-site user_id=7 ", line, StringComparison.Ordinal);
        Assert.Contains("status=500", line, StringComparison.Ordinal);
        Assert.Equal("1", Assert.Single(Ended().Matches(await daemon.MetricsAsync())).Groups[1].Value);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1000)]
    public async Task User_whose_limiter_is_forgotten_in_the_moment_of_asking_is_served(int times)
    {
        var thrown = 0;
        await using var daemon = await StartAsync(limiter =>
            ObjectDisposedException.ThrowIf(Interlocked.Increment(ref thrown) <= times, limiter));
        using var client = TestClient.HandOver(daemon.SocketPath, """{"user_id":7}""");

        Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
        Assert.True(thrown > 1, "asked once");
    }

    private static Task<InProcessDaemon> StartAsync(Action<object> ask) => InProcessDaemon.StartAsync(
        new OneWordBackend(),
        new DaemonOptions
        {
            RateLimit = new RateLimitOptions { ConcurrentStreams = 2 },
            Timeouts = new TimeoutOptions { DrainTimeoutMs = 100 },
        },
        new(AroundLimiter: limiter => new AskedLimiter(limiter, ask)));

    /// <summary>Number of streams that ended, with any backend and any outcome.</summary>
    [GeneratedRegex(@"^streaming_daemon_streams_total\{.*\} ([1-9]\d*)$", RegexOptions.Multiline)]
    private static partial Regex Ended();

    private sealed class AskedLimiter(PartitionedRateLimiter<UserId> inner, Action<object> ask)
        : PartitionedRateLimiter<UserId>
    {
        public override RateLimiterStatistics? GetStatistics(UserId resource) => inner.GetStatistics(resource);

        protected override RateLimitLease AttemptAcquireCore(UserId resource, int permitCount)
        {
            ask(inner);
            return inner.AttemptAcquire(resource, permitCount);
        }

        protected override ValueTask<RateLimitLease> AcquireAsyncCore(
            UserId resource, int permitCount, CancellationToken cancellationToken) =>
            inner.AcquireAsync(resource, permitCount, cancellationToken);

        protected override void Dispose(bool disposing)
        {
            inner.Dispose();
            base.Dispose(disposing);
        }
    }

    private sealed class OneWordBackend : IStreamingBackend
    {
        public string Name => "word";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public async Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            await sink.WriteAsync(new StreamDelta(Encoding.UTF8.GetBytes("one")), cancellationToken);
            return BackendResult.Completed;
        }
    }
}
