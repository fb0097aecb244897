using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Looks every few seconds whether the backends' files, which hold certificates, were replaced. Programs that
/// renew certificates write files and send no signal: cert-manager, certbot, and Kubernetes, which swaps a
/// symbolic link. New connections use the new files; a certificate that cannot be used changes nothing.
/// Without such files there is no thread.
/// </summary>
/// <remarks>On a thread of its own: a file system that does not answer holds up that thread, and nothing
/// else.</remarks>
internal sealed class CertificateWatch : IHostedService
{
    private const string ThreadName = "certificates";

    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(10);

    private readonly ReloadableOptions _options;
    private readonly ILogger _logger;
    private readonly object _gate = new();
    private readonly Dictionary<string, FileStamp> _stamps = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string?> _dates = new(StringComparer.Ordinal);
    private OptionTable? _table;
    private int _started;

    /// <summary>Not 0 after a reload: the reload may have read the files before they changed, and applied
    /// them after the last look.</summary>
    private int _again;
    private bool _isStopped;

    /// <summary>What the last look found wrong, or null.</summary>
    private string? _problem;

    /// <summary>The problem that was logged, or null.</summary>
    private string? _logged;

    public CertificateWatch(ReloadableOptions options, ILogger<CertificateWatch> logger)
    {
        (_options, _logger) = (options, logger);
        options.OnChange(_ => Volatile.Write(ref _again, 1));
        NoteDates(isLogged: false);
    }

    public Task StartAsync(CancellationToken cancellationToken)
    {
        // A reload may name the first file.
        _options.OnChange(options => Start(options));
        Start(_options.Current);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            _isStopped = true;
            Monitor.Pulse(_gate);
        }

        return Task.CompletedTask;
    }

    /// <summary>Looks once. Not at the same time from two threads.</summary>
    internal void Look()
    {
        var current = _options.Current;
        var isAgain = Interlocked.Exchange(ref _again, 0) != 0;
        if (HasChanged(current) || isAgain || _problem is not null)
            Renew(current);
        NoteDates(isLogged: true);
    }

    private void Start(DaemonOptions options)
    {
        if (!Paths(options).Any() || Interlocked.Exchange(ref _started, 1) != 0)
            return;
        if (!PreparedThread.TryStart(ThreadName, Run))
            _logger.CertificatesKept(PreparedThread.Refusal(ThreadName));
    }

    private void Run()
    {
        while (!IsStoppedAfterPause())
        {
            try
            {
                Look();
            }
            catch (OutOfMemoryException)
            {
                // The next look may find memory. It must not take this change for known.
                Volatile.Write(ref _again, 1);
                OutOfMemory.Survive();
            }
        }
    }

    private bool IsStoppedAfterPause()
    {
        lock (_gate)
            return _isStopped || Monitor.Wait(_gate, s_interval) || _isStopped;
    }

    private static IEnumerable<string> Paths(DaemonOptions options) =>
        from setting in options.Backends.Configured
        from file in setting.Kind.Files
        select file.Path.Get(setting.Options) into path
        where path is not null
        select path;

    /// <summary>Stamps are taken before the files are read, so no change is missed.</summary>
    private bool HasChanged(DaemonOptions options)
    {
        var hasChanged = false;
        foreach (var path in Paths(options))
        {
            var stamp = RegularFile.StampOf(path);
            hasChanged |= !_stamps.TryGetValue(path, out var known) || known != stamp;
            _stamps[path] = stamp;
        }

        return hasChanged;
    }

    private void Renew(DaemonOptions current)
    {
        var errors = new ConfigurationErrors();
        _table ??= new OptionTable([.. current.Backends.Kinds]);
        var read = BackendFiles.Fill(current, _table, errors);
        var problem = errors.First ?? ProblemOf(current, read);
        // A certificate and its key are two files, and a file is written in pieces: what is wrong now may be
        // right at the next look.
        if (problem is not null && problem == _problem && problem != _logged)
            _logger.CertificatesKept(_logged = problem);
        _problem = problem;
        if (problem is not null)
            return;
        _logged = null;
        var changed = _options.ApplyFiles(read);
        if (changed.Count == 0)
            return;
        _logger.CertificatesRenewed(string.Join(", ", changed));
        // The listeners of that change have logged these warnings.
        NoteDates(isLogged: false);
    }

    private static string? ProblemOf(DaemonOptions current, DaemonOptions read)
    {
        foreach (var setting in current.Backends.Configured)
        {
            var next = read.Backends.Of(setting.Kind.Name);
            if (next != setting && setting.Kind.Validate(next.Options) is { } problem)
                return problem;
        }

        return null;
    }

    /// <summary>Finds certificates that have expired since the last look.</summary>
    private void NoteDates(bool isLogged)
    {
        foreach (var setting in _options.Current.Backends.Configured)
        {
            if (setting.Kind.Files.Count == 0)
                continue;
            var problem = setting.Kind.Warn(setting.Options);
            if (isLogged && problem is not null && problem != _dates.GetValueOrDefault(setting.Kind.Name))
                _logger.BackendWarning(setting.Kind.Name, problem);
            _dates[setting.Kind.Name] = problem;
        }
    }
}
