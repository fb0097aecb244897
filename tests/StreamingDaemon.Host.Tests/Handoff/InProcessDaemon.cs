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

/// <summary>The loop and the dispatcher around a backend of a test's own.</summary>
internal sealed class InProcessDaemon : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly StreamWatchdog _watchdog;
    private readonly UserLimits _limits;
    private readonly WorkerSlots _workers;
    private readonly StreamMetrics _metrics;
    private readonly LogSampler _samples = new(NullLogger<LogSampler>.Instance);

    private InProcessDaemon(IStreamingBackend backend, DaemonOptions options)
    {
        SocketPath = _directory.File("s");
        options = options with
        {
            Server = new ServerOptions { Socket = SocketPath, MaxConnections = 10 },
            Performance = new PerformanceOptions { RingEntries = 64 },
        };
        _metrics = new StreamMetrics(options);
        _watchdog = new StreamWatchdog(new ReloadableOptions(options));
        _limits = new UserLimits(options);
        _workers = new WorkerSlots(options);
        Server = new HandoffServer(DaemonHost.ServerOptionsOf(options), new HandoffDispatcher(
            options, new BackendRegistry([backend], backend.Name), _watchdog, _limits, _workers, _metrics,
            new AccessLog(options, _samples, NullLogger<AccessLog>.Instance),
            new HandoffLog(_samples, NullLogger<HandoffLog>.Instance)));
    }

    public string SocketPath { get; }

    public HandoffServer Server { get; }

    public static async Task<InProcessDaemon> StartAsync(IStreamingBackend backend, DaemonOptions options)
    {
        var daemon = new InProcessDaemon(backend, options);
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
        _limits.Dispose();
        _workers.Dispose();
        _samples.Dispose();
        _directory.Dispose();
    }
}
