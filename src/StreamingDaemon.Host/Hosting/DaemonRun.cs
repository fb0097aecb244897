using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>One daemon from start to exit code.</summary>
internal sealed class DaemonRun(DaemonOptions options) : IDisposable
{
    private readonly IHost _host = DaemonHost.Build(options);

    public DrainSignal Drain => _host.Services.GetRequiredService<DrainSignal>();

    /// <exception cref="HandoffServerException">The ring or the socket is refused.</exception>
    /// <exception cref="IOException">The metrics port is in use.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _host.StartAsync(cancellationToken);
        }
        catch
        {
            // Kestrel may have failed after the loop began: leave no socket behind.
            var server = _host.Services.GetRequiredService<HandoffServer>();
            server.Stop();
            var patience = Task.Delay(TimeSpan.FromSeconds(5), CancellationToken.None);
            await Task.WhenAny(server.Completion, patience);
            throw;
        }
    }

    /// <summary>Waits for the end, and says how it was.</summary>
    public async Task<int> WaitAsync(CancellationToken cancellationToken)
    {
        // Taken now: the services are gone with the host.
        var loop = _host.Services.GetRequiredService<HandoffLoopService>();
        var statistics = _host.Services.GetRequiredService<HandoffServer>().Statistics;
        var metrics = _host.Services.GetRequiredService<StreamMetrics>();
        await _host.WaitForShutdownAsync(cancellationToken);
        if (options.Performance.Benchmark)
            BenchmarkSummary.Write(Console.Error, statistics, metrics);
        return loop.ExitCode;
    }

    public void Dispose() => _host.Dispose();
}
