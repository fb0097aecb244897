using System.Runtime.InteropServices;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// SIGTERM and SIGINT: the first begins the drain, while everything, /health too, goes on; the second ends
/// the process at once, with 128 plus the signal's number. SIGHUP reads the configuration again, and does not
/// end the daemon even if it comes from a terminal that closes.
/// </summary>
/// <param name="signals">Null if the process belongs to someone else, as in a test.</param>
internal sealed class DaemonLifetime(
    DrainSignal drain, OptionsReloader reloader, DaemonLog log, ILogger<DaemonLifetime> logger,
    ProcessSignals? signals = null) : IHostLifetime
{
    /// <summary>A signal that comes so soon after the first is its echo.</summary>
    private const int EchoMs = 250;

    private long _firstMs;
    private readonly ILogger _logger = logger;

    public Task WaitForStartAsync(CancellationToken cancellationToken)
    {
        if (signals is not null)
        {
            reloader.Prepare();
            signals.Handle(OnSignal);
        }

        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private void OnSignal(PosixSignal signal)
    {
        if (signal == PosixSignal.SIGHUP)
            reloader.Request();
        else
            OnEnd(signal);
    }

    private void OnEnd(PosixSignal signal)
    {
        var now = Environment.TickCount64;
        var isFirst = _firstMs == 0;
        if (isFirst)
            _firstMs = now;
        if (isFirst && drain.Begin())
        {
            _logger.SignalDrains(signal);
            return;
        }

        // timeout(1) and other wrappers signal their child, and then its whole group: that is one wish.
        if (!isFirst && now - _firstMs < EchoMs)
            return;
        _logger.SignalEnds(signal);
        log.Flush(TimeSpan.FromMilliseconds(200));
        Environment.Exit(128 + (signal == PosixSignal.SIGINT ? 2 : 15));
    }
}
