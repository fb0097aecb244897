using System.Runtime.InteropServices;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// SIGTERM and SIGINT: the first begins the drain, while everything, /health too, goes on; the second ends
/// the process at once, with 128 plus the signal's number. SIGHUP reads the configuration again, and is not
/// our end even where it is a terminal that closes.
/// </summary>
internal sealed partial class DaemonLifetime(
    DrainSignal drain, OptionsReloader reloader, DaemonLog log, ILogger<DaemonLifetime> logger)
    : IHostLifetime, IDisposable
{
    /// <summary>A signal that comes so soon after the first is its echo.</summary>
    private const int EchoMs = 250;

    private const int SigHup = 1;
    private const nint DefaultHandler = 0; // SIG_DFL

    private readonly List<PosixSignalRegistration> _registrations = [];
    private long _firstMs;
    private readonly ILogger _logger = logger;

    public Task WaitForStartAsync(CancellationToken cancellationToken)
    {
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal));
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal));
        // Started by nohup or apt it is ignored, and the runtime leaves such a signal ignored.
        _ = SetHandler(SigHup, DefaultHandler);
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGHUP, OnHangUp));
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose()
    {
        foreach (var registration in _registrations)
            registration.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint SetHandler(int signal, nint handler);

    private void OnHangUp(PosixSignalContext context)
    {
        context.Cancel = true;
        reloader.Reload();
    }

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        // Each signal comes on a thread of its own: the first to leave its time here is the first.
        var now = Environment.TickCount64;
        var first = Interlocked.CompareExchange(ref _firstMs, now, 0);
        if (first == 0 && drain.Begin())
        {
            LogSignal(_logger, context.Signal);
            return;
        }

        // timeout(1) and other wrappers signal their child, and then its whole group: that is one wish.
        if (first != 0 && now - first < EchoMs)
            return;
        LogSecondSignal(_logger, context.Signal);
        log.Flush(TimeSpan.FromMilliseconds(200));
        Environment.Exit(128 + (context.Signal == PosixSignal.SIGINT ? 2 : 15));
    }

    [LoggerMessage(EventId = 30, Level = LogLevel.Information, Message = "{Signal}: draining")]
    private static partial void LogSignal(ILogger logger, PosixSignal signal);

    [LoggerMessage(EventId = 31, Level = LogLevel.Warning, Message = "{Signal} again: ending at once")]
    private static partial void LogSecondSignal(ILogger logger, PosixSignal signal);
}
