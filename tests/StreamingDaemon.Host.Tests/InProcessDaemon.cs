using System.Text;
using System.Threading.RateLimiting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Answers;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests;

/// <summary>The loop and the dispatcher with a test's backend.</summary>
internal sealed class InProcessDaemon : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly StreamWatchdog _watchdog;
    private readonly UserLimits _limits;
    private readonly BackendConcurrencyLimiter _workers;
    private readonly StreamMetrics _metrics;
    private readonly AnswerStore _answers;
    private readonly LogSampler _samples = new(NullLogger<LogSampler>.Instance);

    private InProcessDaemon(IStreamingBackend backend, DaemonOptions options, Seams seams)
    {
        SocketPath = _directory.File("s");
        options = options with
        {
            Server = new ServerOptions { Socket = SocketPath, MaxConnections = 10 },
            Performance = options.Performance with { RingEntries = 64 },
        };
        _metrics = new StreamMetrics(options);
        _watchdog = new StreamWatchdog(new ReloadableOptions(options), new ThreadPoolTuner());
        _limits = new UserLimits(options, seams.AroundLimiter ?? (limiter => limiter));
        _workers = new BackendConcurrencyLimiter(options) { Given = seams.WorkerGiven };
        var log = new HandoffLog(_samples, NullLogger<HandoffLog>.Instance);
        var calls = new CallRunner(options, _watchdog, _limits, _workers, log);
        var reports = new AnswerReports(_metrics, _samples, NullLogger<AnswerReports>.Instance);
        var reloadable = new ReloadableOptions(options);
        _answers = new AnswerStore(reloadable, MemoryBudget.Unlimited, reports);
        Server = new HandoffServer(DaemonHost.ServerOptionsOf(options), new HandoffDispatcher(
            options, new BackendRegistry([backend], backend.Name), calls,
            new KeptAnswers(reloadable, _answers, calls, reports),
            new StreamReporter(_metrics, new AccessLog(options, _samples, Lines)), log));
    }

    /// <summary>Hooks for a test.</summary>
    /// <param name="WorkerGiven">Awaited after a slot was taken, before it is returned to the caller.</param>
    /// <param name="AroundLimiter">Wraps each of a user's limiters.</param>
    public sealed record Seams(
        Func<Task>? WorkerGiven = null,
        Func<PartitionedRateLimiter<UserId>, PartitionedRateLimiter<UserId>>? AroundLimiter = null);

    public string SocketPath { get; }

    /// <summary>The access log.</summary>
    public RecordingLog Lines { get; } = new();

    public HandoffServer Server { get; }

    public static async Task<InProcessDaemon> StartAsync(
        IStreamingBackend backend, DaemonOptions options, Seams? seams = null)
    {
        var daemon = new InProcessDaemon(backend, options, seams ?? new Seams());
        await daemon.Server.StartAsync();
        return daemon;
    }

    public async Task<string> MetricsAsync()
    {
        using var bytes = new MemoryStream();
        await _metrics.Registry.CollectAndExportAsTextAsync(bytes);
        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    /// <summary>Waits for a line of the metrics.</summary>
    public async Task CountsAsync(string line)
    {
        var text = "";
        for (var deadline = DateTime.UtcNow + TestClient.Patience; DateTime.UtcNow < deadline; await Task.Delay(5))
        {
            text = await MetricsAsync();
            if (text.Contains(line, StringComparison.Ordinal))
                return;
        }

        Assert.Fail($"no '{line}' in {text}");
    }

    public async ValueTask DisposeAsync()
    {
        Server.Stop();
        await Server.Completion.WaitAsync(TestClient.Patience);
        _watchdog.Dispose();
        _answers.Dispose();
        _limits.Dispose();
        _workers.Dispose();
        _samples.Dispose();
        _directory.Dispose();
    }

    /// <summary>Keeps the log lines.</summary>
    internal sealed class RecordingLog : ILogger<AccessLog>
    {
        private readonly List<string> _lines = [];

        public IReadOnlyList<string> All
        {
            get
            {
                lock (_lines)
                    return [.. _lines];
            }
        }

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            lock (_lines)
                _lines.Add(formatter(state, exception));
        }
    }
}
