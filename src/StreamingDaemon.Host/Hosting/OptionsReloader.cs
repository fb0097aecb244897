using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Hosting;

/// <summary>SIGHUP: reads every source again. What is wrong with them is said, and nothing changes
/// then.</summary>
internal sealed partial class OptionsReloader(
    ReloadableOptions options, Func<DaemonOptions> reread, DrainSignal drain, ServiceNotifier notifier,
    ILogger<OptionsReloader> logger)
{
    private readonly Lock _gate = new();
    private readonly ILogger _logger = logger;

    public void Reload()
    {
        lock (_gate)
        {
            if (drain.IsDraining)
                return;
            notifier.Reloading();
            notifier.Ready(TryReload() ? "reloaded" : "not reloaded: the configuration has errors");
        }
    }

    private bool TryReload()
    {
        try
        {
            var (changed, needRestart) = options.Apply(reread());
            LogReloaded(_logger, changed.Count == 0 ? "nothing" : string.Join(", ", changed));
            if (needRestart.Count > 0)
                LogNeedRestart(_logger, string.Join(", ", needRestart));
            return true;
        }
        catch (ConfigurationException e)
        {
            foreach (var error in e.Errors)
                LogRefused(_logger, error);
            return false;
        }
    }

    [LoggerMessage(EventId = 40, Level = LogLevel.Information, Message = "reloaded: {Changed} changed")]
    private static partial void LogReloaded(ILogger logger, string changed);

    [LoggerMessage(EventId = 41, Level = LogLevel.Warning,
        Message = "changed, and in force after a restart only: {Options}")]
    private static partial void LogNeedRestart(ILogger logger, string options);

    [LoggerMessage(EventId = 42, Level = LogLevel.Error,
        Message = "not reloaded, the settings stay as they are: {Problem}")]
    private static partial void LogRefused(ILogger logger, string problem);
}
