using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>Tells the service manager that the daemon is alive, but only while the loop turns: a daemon that
/// looks healthy and streams nothing is to be restarted.</summary>
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
