using System.Net.Sockets;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Commands;

/// <summary>One daemon from start to exit code.</summary>
internal sealed class DaemonRun : IDisposable
{
    private readonly DaemonOptions _options;
    private readonly DaemonLog _log;
    private readonly IHost _host;

    /// <param name="options">As they were read.</param>
    /// <param name="reread">Reads them again, for SIGHUP.</param>
    /// <param name="more">Adds backends beside the built-in ones.</param>
    /// <param name="signals">Those of this process, if the daemon is to have them.</param>
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

    /// <summary>For the summary, if nobody may read standard error.</summary>
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(2);

    public IServiceProvider Services => _host.Services;

    public DrainSignal Drain => Services.GetRequiredService<DrainSignal>();

    /// <exception cref="HandoffServerException">The ring or the socket is refused.</exception>
    /// <exception cref="IOException">The metrics port cannot be listened on.</exception>
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

    /// <summary>Waits for the end.</summary>
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
                () => BenchmarkSummary.Write(Console.Error, statistics, metrics), LastWords);
        }

        return Services.GetRequiredService<HandoffLoopService>().Result;
    }

    public void Dispose()
    {
        _host.Dispose();
        _log.Dispose();
    }
}
