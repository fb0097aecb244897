using System.Collections.Concurrent;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// Limits log lines that a peer can cause at will and fill the disk with. The first line of a kind is written
/// and opens a window. Further lines of the kind are only counted, and the window ends with one line that
/// gives the count. Thread-safe.
/// </summary>
/// <param name="logger">Gets the lines with the counts.</param>
/// <param name="window">Length of the window: at most one line of a kind is written in it.</param>
internal sealed class LogSampler(ILogger<LogSampler> logger, TimeSpan window) : IDisposable
{
    private readonly ConcurrentDictionary<string, Kind> _kinds = new(StringComparer.Ordinal);
    private readonly ILogger _logger = logger;
    private readonly TimeSpan _window = window;

    public LogSampler(ILogger<LogSampler> logger)
        : this(logger, TimeSpan.FromSeconds(10))
    {
    }

    /// <summary>Decides whether a line is written; counts it if it is not.</summary>
    /// <param name="kind">The kind of line. It must come from a fixed set, never from a peer's text: each
    /// kind is kept for ever.</param>
    public bool Admits(string kind) =>
        _kinds.GetOrAdd(kind, static (name, all) => new Kind(all, name), this).Admits();

    /// <summary>Writes the counts of the windows that are still open.</summary>
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

                // Change() returns false if the timer was disposed because the daemon is ending.
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
