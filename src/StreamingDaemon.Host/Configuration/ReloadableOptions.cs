using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// The current options. Those that may change while the daemon runs (<see cref="OptionSpec.Reloadable"/>)
/// must be read from here each time, or be applied in a callback. From any thread.
/// </summary>
internal sealed class ReloadableOptions(DaemonOptions options)
{
    private readonly OptionTable _table = new([.. options.Backends.Kinds]);
    private readonly Lock _gate = new();
    private readonly List<Action<DaemonOptions>> _listeners = [];
    private volatile DaemonOptions _current = options;

    public DaemonOptions Current => _current;

    /// <summary>Calls the listener after each change, one change at a time.</summary>
    public void OnChange(Action<DaemonOptions> listener)
    {
        lock (_gate)
            _listeners.Add(listener);
    }

    /// <summary>Takes the reloadable options from <paramref name="next"/>.</summary>
    /// <returns>The keys that changed, and those that differ but need a restart.</returns>
    public (IReadOnlyList<string> Changed, IReadOnlyList<string> NeedRestart) Apply(DaemonOptions next)
    {
        var changed = new List<string>();
        var needRestart = new List<string>();
        lock (_gate)
        {
            var merged = _current;
            var moved = _table.All.Where(spec => spec.IsAddress && spec.Differs(_current, next))
                .Select(spec => spec.Section).ToHashSet(StringComparer.Ordinal);
            foreach (var spec in _table.All)
            {
                if (!spec.Differs(_current, next))
                    continue;
                // A backend that only one of them has is not made, or not removed, while the daemon runs.
                var isTaken = spec.Reloadable && spec.IsIn(_current) && spec.IsIn(next)
                    && !(spec.IsSecret && moved.Contains(spec.Section));
                if (isTaken)
                    merged = spec.Carry(next, merged);
                (isTaken ? changed : needRestart).Add(spec.DottedKey);
            }

            Take(CarryFiles(next, merged, changed), changed.Count > 0);
        }

        return (changed, needRestart);
    }

    /// <summary>Takes over the content of the backends' files that both configurations name, and nothing
    /// else.</summary>
    /// <returns>The keys of the options whose files changed.</returns>
    public IReadOnlyList<string> ApplyFiles(DaemonOptions next)
    {
        var changed = new List<string>();
        lock (_gate)
        {
            var merged = _current;
            // A certificate and its key belong together: neither is taken if a reload has named another file.
            foreach (var kind in merged.Backends.Kinds)
            {
                if (kind.Files.All(file => file.Path.Get(_current.Backends.Of(kind.Name).Options)
                    == file.Path.Get(next.Backends.Of(kind.Name).Options)))
                {
                    merged = CarryFiles(kind, next, merged, changed);
                }
            }

            Take(merged, changed.Count > 0);
        }

        return changed;
    }

    /// <summary>If a listener fails, the options stay what they were: the next reload finds the change again.
    /// </summary>
    private void Take(DaemonOptions merged, bool hasChanged)
    {
        var before = _current;
        _current = merged;
        if (!hasChanged)
            return;
        try
        {
            _listeners.ForEach(listener => listener(merged));
        }
        catch
        {
            _current = before;
            throw;
        }
    }

    /// <summary>Takes what is in the files that both name: it may have changed without an option.</summary>
    private static DaemonOptions CarryFiles(DaemonOptions next, DaemonOptions merged, List<string> changed)
    {
        foreach (var kind in merged.Backends.Kinds)
            merged = CarryFiles(kind, next, merged, changed);
        return merged;
    }

    private static DaemonOptions CarryFiles(
        BackendDescriptor kind, DaemonOptions next, DaemonOptions merged, List<string> changed)
    {
        foreach (var file in kind.Files)
        {
            var (to, from) = (merged.Backends.Of(kind.Name).Options, next.Backends.Of(kind.Name).Options);
            var content = file.Content.Get(from);
            if (file.Path.Get(to) != file.Path.Get(from) || file.Content.Get(to) == content)
                continue;
            merged = merged with
            {
                Backends = merged.Backends.With(kind.Name, file.Content.Set(to, content)),
            };
            if (!changed.Contains($"{kind.Name}.{file.Path.Name}"))
                changed.Add($"{kind.Name}.{file.Path.Name}");
        }

        return merged;
    }
}
