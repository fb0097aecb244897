using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// SIGHUP: reads the configuration again from all sources. If there is any error, it is logged and nothing
/// changes.
/// </summary>
/// <remarks>
/// One read runs at a time, on its own thread, because a read may hang. Requests during a read cause one more
/// read after it. A read that hangs is abandoned: its thread is left behind, and its late result is ignored.
/// No lock is held while a file is read.
/// </remarks>
internal sealed class OptionsReloader : IDisposable
{
    /// <summary>Most threads that may hang. With that many, reloads are refused until one returns.</summary>
    public const int MostHanging = 4;

    private const string ThreadName = "reload";
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(100);

    private readonly object _gate = new();
    private readonly ReloadableOptions _options;
    private readonly Func<DaemonOptions> _reread;
    private readonly DrainSignal _drain;
    private readonly ServiceNotifier _notifier;
    private readonly ReloadMetrics _metrics;
    private readonly ILogger _logger;
    private readonly Timer _watch;

    /// <summary>The read that runs now, or null.</summary>
    private ConfigurationRead? _current;

    /// <summary>True until <see cref="_current"/> has been read: until then it can be abandoned.</summary>
    private bool _isReading;

    /// <summary>The next read for an idle thread, or null.</summary>
    private ConfigurationRead? _handedOver;
    private int _idleThreads;
    private int _hanging;
    private bool _again;

    public OptionsReloader(ReloadableOptions options, Func<DaemonOptions> reread, DrainSignal drain,
        ServiceNotifier notifier, ReloadMetrics metrics, ILogger<OptionsReloader> logger)
    {
        (_options, _reread, _drain, _notifier) = (options, reread, drain, notifier);
        (_metrics, _logger) = (metrics, logger);
        _watch = new Timer(static reloader => ((OptionsReloader)reloader!).Look(), this,
            Timeout.Infinite, Timeout.Infinite);
    }

    /// <summary>Starts the first thread now, because the system may refuse one later.</summary>
    /// <exception cref="Uring.HandoffServerException">The system refuses a thread.</exception>
    public void Prepare()
    {
        lock (_gate)
            _idleThreads++;
        PreparedThread.Start(ThreadName, () => RunThread(null), ConfigurationRead.StackBytes);
    }

    /// <summary>Asks for a reload and returns at once. Thread-safe.</summary>
    public void Request()
    {
        string? refusal;
        lock (_gate)
        {
            if (_drain.IsDraining)
                return;
            // The read that runs now may have passed the file already, so one more follows it.
            _again = _current is not null;
            if (_again)
                return;
            refusal = TryBegin();
        }

        if (refusal is not null)
            Refuse(refusal);
    }

    public void Dispose() => _watch.Dispose();

    /// <summary>Starts a read. The caller holds the lock.</summary>
    /// <returns>Null, or why no read can start.</returns>
    private string? TryBegin()
    {
        _notifier.Reloading();
        if (_hanging >= MostHanging)
        {
            return $"{_hanging} earlier reloads still wait for a file that does not answer. "
                + "Bring its file system back, or restart the daemon";
        }

        var read = Begin();
        if (_idleThreads > 0)
        {
            _idleThreads--;
            _handedOver = read;
            Monitor.Pulse(_gate);
            return null;
        }

        if (PreparedThread.TryStart(ThreadName, () => RunThread(read), ConfigurationRead.StackBytes))
            return null;
        _current = null;
        return PreparedThread.Refusal(ThreadName);
    }

    /// <summary>Makes the next read the current one. The caller holds the lock.</summary>
    private ConfigurationRead Begin()
    {
        (_current, _isReading) = (new ConfigurationRead(_reread), true);
        _watch.Change(s_look, s_look);
        return _current;
    }

    private void RunThread(ConfigurationRead? read)
    {
        while (true)
        {
            read ??= TakeNext();
            read.Run();
            if (HasReadInTime(read))
            {
                Apply(read);
                read = Next();
            }
            else
            {
                read = null;
            }

            if (read is null && !MayWait())
                return;
        }
    }

    private ConfigurationRead TakeNext()
    {
        lock (_gate)
        {
            while (_handedOver is null)
                Monitor.Wait(_gate);
            var read = _handedOver;
            _handedOver = null;
            return read;
        }
    }

    /// <returns>False if the read was abandoned meanwhile.</returns>
    private bool HasReadInTime(ConfigurationRead read)
    {
        lock (_gate)
        {
            if (_current == read)
            {
                _isReading = false;
                return true;
            }

            _hanging--;
        }

        _logger.LateReloadIgnored();
        return false;
    }

    private void Apply(ConfigurationRead read)
    {
        if (read.Options is not { } next)
        {
            foreach (var error in read.Errors)
                _logger.NotReloaded(error);
            _metrics.Failed();
            _notifier.Ready("not reloaded: the configuration has errors");
            return;
        }

        var (changed, needRestart) = _options.Apply(next);
        _logger.Reloaded(changed.Count == 0 ? "nothing" : string.Join(", ", changed));
        if (needRestart.Count > 0)
            _logger.NeedsRestart(string.Join(", ", needRestart));
        _metrics.Succeeded();
        _notifier.Ready("reloaded");
    }

    /// <returns>The next read, if one was requested meanwhile; else null.</returns>
    private ConfigurationRead? Next()
    {
        lock (_gate)
        {
            _current = null;
            _watch.Change(Timeout.Infinite, Timeout.Infinite);
            if (!_again || _drain.IsDraining)
                return null;
            _again = false;
            _notifier.Reloading();
            return Begin();
        }
    }

    /// <summary>One thread stays idle for the next read; any other ends.</summary>
    private bool MayWait()
    {
        lock (_gate)
        {
            if (_idleThreads > 0)
                return false;
            _idleThreads++;
            return true;
        }
    }

    /// <summary>Called by the timer while a read runs: abandons the read if it hangs.</summary>
    private void Look()
    {
        string overdue;
        bool again;
        lock (_gate)
        {
            if (!_isReading || _current?.Overdue() is not { } problem)
                return;
            overdue = problem;
            _current = null;
            _hanging++;
            _watch.Change(Timeout.Infinite, Timeout.Infinite);
            (again, _again) = (_again, false);
        }

        Refuse($"{overdue}; given up");
        if (again)
            Request();
    }

    private void Refuse(string problem)
    {
        _logger.NotReloaded(problem);
        _metrics.Failed();
        _notifier.Ready($"not reloaded: {problem}");
    }
}
