using System.Collections.Concurrent;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// For lines that a peer can cause as often as it likes, which would fill the disk: the first of a kind opens
/// a window and is written, those that follow in it are counted in one line at its end. Any thread.
/// </summary>
/// <param name="logger">Takes the counts.</param>
/// <param name="window">How long only the first is written.</param>
internal sealed class LogSampler(ILogger<LogSampler> logger, TimeSpan window) : IDisposable
{
    private readonly ConcurrentDictionary<string, Kind> _kinds = new(StringComparer.Ordinal);
    private readonly ILogger _logger = logger;
    private readonly TimeSpan _window = window;

    public LogSampler(ILogger<LogSampler> logger)
        : this(logger, TimeSpan.FromSeconds(10))
    {
    }

    /// <summary>Is this line to be written? One that is not is counted.</summary>
    /// <param name="kind">What the lines have in common: one of a closed list, and no text of a
    /// peer's.</param>
    public bool Admits(string kind) =>
        _kinds.GetOrAdd(kind, static (name, all) => new Kind(all, name), this).Admits();

    /// <summary>Writes what is still counted.</summary>
    public void Dispose()
    {
        foreach (var kind in _kinds.Values)
            kind.Dispose();
    }

    private sealed class Kind : IDisposable
    {
        private readonly Lock _gate = new();
        private readonly LogSampler _all;
        private readonly string _name;
        private readonly Timer _windowEnds;
        private bool _isOpen;
        private long _heldBack;

        public Kind(LogSampler all, string name)
        {
            _all = all;
            _name = name;
            _windowEnds = new Timer(static kind => ((Kind)kind!).OnWindowEnd(), this, Timeout.Infinite,
                Timeout.Infinite);
        }

        public bool Admits()
        {
            lock (_gate)
            {
                if (_isOpen)
                {
                    _heldBack++;
                    return false;
                }

                // False, and nothing more, if the daemon has ended meanwhile.
                _isOpen = _windowEnds.Change(_all._window, Timeout.InfiniteTimeSpan);
                return true;
            }
        }

        public void Dispose()
        {
            _windowEnds.Dispose();
            lock (_gate)
                TellHeldBack();
        }

        private void OnWindowEnd()
        {
            lock (_gate)
            {
                _isOpen = false;
                TellHeldBack();
            }
        }

        private void TellHeldBack()
        {
            if (_heldBack > 0)
                _all._logger.Suppressed(_name, _heldBack, _all._window.TotalSeconds);
            _heldBack = 0;
        }
    }
}
