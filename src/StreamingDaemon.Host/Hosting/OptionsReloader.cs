using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// SIGHUP: reads every source again. If anything is wrong with them, that is logged and nothing changes.
/// </summary>
/// <remarks>
/// One reading at a time, on a thread that may hang in it. Requests that come meanwhile are one more reading
/// after it. A reading that hangs is given up: its thread is left behind, and what it brings later is not
/// used. No lock is held while a file is read.
/// </remarks>
internal sealed class OptionsReloader : IDisposable
{
    /// <summary>Threads that may hang. With so many, a reload is refused until one comes back.</summary>
    public const int MostHanging = 4;

    private const string ThreadName = "reload";
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(100);

    private readonly object _gate = new();
    private readonly ReloadableOptions _options;
    private readonly Func<DaemonOptions> _reread;
    private readonly DrainSignal _drain;
    private readonly ServiceNotifier _notifier;
    private readonly ILogger _logger;
    private readonly Timer _watch;

    /// <summary>The reading that is under way.</summary>
    private ConfigurationRead? _current;

    /// <summary>It has not been read to its end: it may still be given up.</summary>
    private bool _isReading;

    /// <summary>Handed to a thread that waits for one.</summary>
    private ConfigurationRead? _handedOver;
    private int _idleThreads;
    private int _hanging;
    private bool _again;

    public OptionsReloader(ReloadableOptions options, Func<DaemonOptions> reread, DrainSignal drain,
        ServiceNotifier notifier, ILogger<OptionsReloader> logger)
    {
        (_options, _reread, _drain, _notifier, _logger) = (options, reread, drain, notifier, logger);
        _watch = new Timer(static reloader => ((OptionsReloader)reloader!).Look(), this,
            Timeout.Infinite, Timeout.Infinite);
    }

    /// <summary>Makes the first thread now, for a time when the system gives none.</summary>
    /// <exception cref="Uring.HandoffServerException">The system gives no thread.</exception>
    public void Prepare()
    {
        lock (_gate)
            _idleThreads++;
        PreparedThread.Start(ThreadName, () => RunThread(null), ConfigurationRead.StackBytes);
    }

    /// <summary>Asks for a reload. Returns at once. From any thread.</summary>
    public void Request()
    {
        string? refusal;
        lock (_gate)
        {
            if (_drain.IsDraining)
                return;
            // The one that runs may have read the file already.
            _again = _current is not null;
            if (_again)
                return;
            refusal = TryBegin();
        }

        if (refusal is not null)
            Refuse(refusal);
    }

    public void Dispose() => _watch.Dispose();

    /// <summary>With the lock.</summary>
    /// <returns>Null, or why no reading can begin.</returns>
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

    /// <summary>With the lock.</summary>
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

    /// <returns>False if it was given up meanwhile.</returns>
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
            _notifier.Ready("not reloaded: the configuration has errors");
            return;
        }

        var (changed, needRestart) = _options.Apply(next);
        _logger.Reloaded(changed.Count == 0 ? "nothing" : string.Join(", ", changed));
        if (needRestart.Count > 0)
            _logger.NeedsRestart(string.Join(", ", needRestart));
        _notifier.Ready("reloaded");
    }

    /// <returns>The reading that was asked for meanwhile, or null.</returns>
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

    /// <summary>One thread waits for the next reading; any more end.</summary>
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

    /// <summary>By a timer, while a reading is under way.</summary>
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
        _notifier.Ready($"not reloaded: {problem}");
    }
}
