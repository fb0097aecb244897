using System.Runtime.InteropServices;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Handles signals. The first SIGTERM or SIGINT begins the drain; everything keeps running meanwhile, also
/// /health. The second ends the process at once, with exit code 128 plus the signal's number. SIGHUP reads
/// the configuration again; it never ends the daemon, even if it comes from a terminal that closes.
/// </summary>
/// <param name="signals">Null if the daemon must not handle the process's signals, as in a test.</param>
internal sealed class DaemonLifetime(
    DrainSignal drain, OptionsReloader reloader, HandoffServer server, DaemonLog log,
    ILogger<DaemonLifetime> logger, ProcessSignals? signals = null) : IHostLifetime
{
    /// <summary>A signal this soon after the first is a copy of it, and is ignored.</summary>
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

        // timeout(1) and other wrappers signal their child and then its whole group. Both count as one.
        if (!isFirst && now - _firstMs < EchoMs)
            return;
        _logger.SignalEnds(signal);
        log.Flush(TimeSpan.FromMilliseconds(200));
        server.LeaveSlowSockets();
        Environment.Exit(128 + (signal == PosixSignal.SIGINT ? 2 : 15));
    }
}
