using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>Tells the service manager that the daemon is alive, but only while the loop turns. If the loop
/// hangs, the manager restarts the daemon.</summary>
internal sealed class LoopWatchdog(HandoffServer server, ServiceNotifier notifier)
{
    /// <summary>Runs until the loop has ended.</summary>
    public async Task RunAsync()
    {
        if (notifier.WatchdogInterval is not { } interval)
            return;
        using var timer = new PeriodicTimer(interval < TimeSpan.FromMilliseconds(1)
            ? TimeSpan.FromMilliseconds(1)
            : interval);
        do
        {
            if (await server.IsTurningAsync(interval).ConfigureAwait(false))
                notifier.Alive();
        }
        while (!server.Completion.IsCompleted && await timer.WaitForNextTickAsync().ConfigureAwait(false));
    }
}
