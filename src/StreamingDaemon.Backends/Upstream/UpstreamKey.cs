namespace StreamingDaemon.Backends.Upstream;

/// <summary>An upstream's key, which may be replaced while streams run. Thread-safe.</summary>
/// <param name="key">The key at the start; empty if there is none.</param>
/// <param name="file">The file that holds it, or null.</param>
/// <param name="read">Reads the key in a file; null if there is none that can be used. May hang.</param>
internal sealed class UpstreamKey(string key, string? file = null, Func<string, string?>? read = null)
{
    /// <summary>How long a refused request waits for the file.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private volatile string? _file = file;
    private volatile string _current = key;
    private volatile string _hidden = key;
    private Task? _reading;

    public string Current => _current;

    /// <summary>What no error may quote: the key and the one before it, which a request may still have
    /// carried.</summary>
    public string Hidden => _hidden;

    /// <summary>Takes a new key, and the file that it comes from.</summary>
    public void Set(string key, string? file)
    {
        _file = file;
        Replace(key);
    }

    /// <summary>The upstream refused a key. Reads the file again, if there is one.</summary>
    /// <returns>True if there is another key now.</returns>
    public async ValueTask<bool> RenewAsync(string refused, CancellationToken cancellationToken)
    {
        if (_current != refused)
            return true;
        if (_file is not { } path || read is null)
            return false;
        try
        {
            await ReadAsync(path).WaitAsync(s_patience, cancellationToken);
        }
        catch (TimeoutException)
        {
            // The file's file system does not answer. The read that hangs is the only one.
        }

        return _current != refused;
    }

    /// <summary>One read at a time, which all refusals meanwhile share.</summary>
    private Task ReadAsync(string path)
    {
        lock (_gate)
        {
            if (_reading is not { IsCompleted: false })
                _reading = Task.Run(() => Read(path));
            return _reading;
        }
    }

    private void Read(string path)
    {
        if (read!(path) is { Length: > 0 } key && path == _file)
            Replace(key);
    }

    private void Replace(string key)
    {
        lock (_gate)
        {
            if (key == _current)
                return;
            // No name in an error holds a line break, so none matches across it.
            _hidden = $"{key}\n{_current}";
            _current = key;
        }
    }
}
