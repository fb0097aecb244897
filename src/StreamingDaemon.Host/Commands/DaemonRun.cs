using System.Net.Sockets;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Commands;

/// <summary>Runs one daemon, from its start to its exit code.</summary>
internal sealed class DaemonRun : IDisposable
{
    private readonly DaemonOptions _options;
    private readonly DaemonLog _log;
    private readonly IHost _host;

    /// <param name="options">The options as read at the start.</param>
    /// <param name="reread">Reads the options again, on SIGHUP.</param>
    /// <param name="more">Adds backends to the built-in ones.</param>
    /// <param name="signals">The process's signals, or null if the daemon must not handle them.</param>
    public DaemonRun(DaemonOptions options, Func<DaemonOptions> reread,
        Action<IServiceCollection>? more = null, ProcessSignals? signals = null)
    {
        _options = options;
        _log = new DaemonLog(options.Logging);
        _host = DaemonHost.Build(options, reread, _log, services =>
        {
            if (signals is not null)
                services.AddSingleton(signals);
            more?.Invoke(services);
        });
    }

    /// <summary>How long the summary may take, in case nobody reads standard error.</summary>
    private static readonly TimeSpan s_summaryTimeout = TimeSpan.FromSeconds(2);

    public IServiceProvider Services => _host.Services;

    public DrainSignal Drain => Services.GetRequiredService<DrainSignal>();

    /// <summary>Returns once the daemon accepts handoffs.</summary>
    /// <exception cref="HandoffServerException">The ring or the socket is refused.</exception>
    /// <exception cref="IOException">It cannot listen on the metrics port.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _host.StartAsync(cancellationToken);
        }
        catch (Exception e) when (e is IOException or SocketException && _options.Monitoring.MetricsPort != 0)
        {
            throw new IOException(MetricsPort.Explain(_options.Monitoring, e), e);
        }
    }

    /// <summary>Waits until the daemon has ended. Cancelling begins the drain.</summary>
    /// <returns>The exit code of the process.</returns>
    public async Task<int> WaitAsync(CancellationToken cancellationToken)
    {
        await using var stop = cancellationToken.Register(() => Drain.Begin());
        await _host.WaitForShutdownAsync(CancellationToken.None);
        if (_options.Performance.Benchmark)
        {
            var statistics = Services.GetRequiredService<HandoffServer>().Statistics;
            var metrics = Services.GetRequiredService<StreamMetrics>();
            RunWithTimeout.Invoke(
                () => BenchmarkSummary.Write(Console.Error, statistics, metrics), s_summaryTimeout);
        }

        return Services.GetRequiredService<HandoffLoopService>().Result;
    }

    /// <summary>Call it last: when the process ends, the kernel closes what is open, and sockets that were
    /// handed over must not delay that.</summary>
    public void LeaveSlowSockets() => Services.GetRequiredService<HandoffServer>().LeaveSlowSockets();

    public void Dispose()
    {
        _host.Dispose();
        _log.Dispose();
    }
}
