using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

/// <summary>A backend whose await ignores its token, as SDKs do on a silent stream, holds nobody but
/// itself.</summary>
public sealed class DeafBackendTests
{
    [Theory]
    [InlineData(false, "HTTP/1.1 504 Gateway Timeout\r\n", "FirstTokenTimeout")]
    [InlineData(true, "data: {\"content\":\"one\"}\n\ndata: {\"error\":", "IdleTimeout")]
    public async Task Silence_ends_at_its_limit_although_the_backend_does_not(
        bool hasBegun, string expected, string reason)
    {
        await using var daemon = await Daemon.StartAsync(hasBegun);
        using var client = Clients.HandOver(daemon.SocketPath, "{}");

        var answer = await Clients.ReadTextAsync(client);

        Assert.Contains(expected, answer, StringComparison.Ordinal);
        await Eventually.TrueAsync(() => daemon.Server.Statistics.ActiveConnections == 0);
        await daemon.CountsAsync($"upstream_errors_total{{reason=\"{reason}\"}} 1");
        Assert.False(daemon.Backend.Ended.IsCompleted);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Client_that_leaves_is_let_go_although_the_backend_does_not_notice(bool hasBegun)
    {
        await using var daemon = await Daemon.StartAsync(hasBegun, timeoutMs: 60_000);
        var client = Clients.HandOver(daemon.SocketPath, "{}");
        await daemon.Backend.Waiting.WaitAsync(Clients.Patience);

        client.Dispose();

        await daemon.CountsAsync("outcome=\"ClientGone\"} 1");
        await Eventually.TrueAsync(() => daemon.Server.Statistics.ActiveConnections == 0);
        Assert.False(daemon.Backend.Ended.IsCompleted);
    }

    [Fact]
    public async Task Backend_that_wakes_up_after_its_stream_writes_to_nobody()
    {
        await using var daemon = await Daemon.StartAsync(hasBegun: true);
        using var client = Clients.HandOver(daemon.SocketPath, "{}");
        _ = await Clients.ReadTextAsync(client);
        await Eventually.TrueAsync(() => daemon.Server.Statistics.ActiveConnections == 0);
        var sent = daemon.Server.Statistics.BytesSent;

        daemon.Backend.WakeUp();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => daemon.Backend.Ended.WaitAsync(Clients.Patience));
        Assert.Equal(sent, daemon.Server.Statistics.BytesSent);
    }

    /// <summary>Waits for what only a test can end, and then goes on as if nothing had been.</summary>
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
            if (hasBegun) await sink.WriteAsync(delta, CancellationToken.None);
            _waiting.SetResult();
            await _silence.Task;
            await sink.WriteAsync(delta, CancellationToken.None);
            return BackendResult.Completed;
        }
    }

    /// <summary>The loop and the dispatcher, with that backend.</summary>
    private sealed class Daemon : IAsyncDisposable
    {
        private readonly TempDirectory _directory = new();
        private readonly StreamWatchdog _watchdog;
        private readonly StreamMetrics _metrics;

        private Daemon(bool hasBegun, int timeoutMs)
        {
            var options = new DaemonOptions
            {
                Server = new ServerOptions { Socket = _directory.File("s"), MaxConnections = 10 },
                Streaming = new StreamingOptions { HeadWaitMs = 60_000 },
                Timeouts = new TimeoutOptions
                {
                    FirstTokenTimeoutMs = timeoutMs,
                    IdleTimeoutMs = timeoutMs,
                    DrainTimeoutMs = 100,
                },
                Performance = new PerformanceOptions { RingEntries = 64 },
            };
            SocketPath = options.Server.Socket;
            Backend = new DeafBackend(hasBegun);
            _metrics = new StreamMetrics(options);
            _watchdog = new StreamWatchdog(options);
            Server = new HandoffServer(DaemonHost.ServerOptionsOf(options), new HandoffDispatcher(
                options, new BackendRegistry([Backend], Backend.Name), _watchdog, new WorkerSlots(options),
                _metrics, new AccessLog(options, NullLogger<AccessLog>.Instance),
                NullLogger<HandoffDispatcher>.Instance));
        }

        public string SocketPath { get; }

        public DeafBackend Backend { get; }

        public HandoffServer Server { get; }

        public static async Task<Daemon> StartAsync(bool hasBegun, int timeoutMs = 200)
        {
            var daemon = new Daemon(hasBegun, timeoutMs);
            await daemon.Server.StartAsync();
            return daemon;
        }

        /// <summary>Waits for a line of the metrics.</summary>
        public async Task CountsAsync(string line)
        {
            var text = "";
            for (var deadline = DateTime.UtcNow + Clients.Patience; DateTime.UtcNow < deadline; await Task.Delay(5))
            {
                using var bytes = new MemoryStream();
                await _metrics.Registry.CollectAndExportAsTextAsync(bytes);
                text = Encoding.UTF8.GetString(bytes.ToArray());
                if (text.Contains(line, StringComparison.Ordinal)) return;
            }

            Assert.Fail($"no '{line}' in {text}");
        }

        public async ValueTask DisposeAsync()
        {
            Server.Stop();
            await Server.Completion.WaitAsync(Clients.Patience);
            _watchdog.Dispose();
            _directory.Dispose();
        }
    }
}
