using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// One reading of the configuration, on a thread that may hang in it. Whoever watches gives the reading up,
/// and leaves the thread behind.
/// </summary>
internal sealed class ConfigurationRead(Func<DaemonOptions> read)
{
    /// <summary>What the parsers may use. They go no deeper than 64 levels.</summary>
    public const int StackBytes = 2 * 1024 * 1024;

    /// <summary>How long one file may take to answer. A start says so within 2 s.</summary>
    public static readonly TimeSpan FilePatience = TimeSpan.FromMilliseconds(1_500);

    /// <summary>How long all of it may take: a machine with too much to do is no reason to fail.</summary>
    private static readonly TimeSpan s_wholePatience = TimeSpan.FromSeconds(10);

    private readonly object _gate = new();
    private readonly long _begunMs = Environment.TickCount64;
    private volatile FileWait? _wait;
    private bool _done;

    /// <summary>What was read, once it is done; null if it is wrong.</summary>
    public DaemonOptions? Options { get; private set; }

    /// <summary>What is wrong with it, once it is done.</summary>
    public IReadOnlyList<string> Errors { get; private set; } = [];

    /// <summary>Reads on a thread of its own, and waits for it with a bound.</summary>
    /// <exception cref="ConfigurationException">Anything is wrong, or a file does not answer.</exception>
    /// <exception cref="IOException">The system gives no thread.</exception>
    public static DaemonOptions Load(Func<DaemonOptions> read)
    {
        var one = new ConfigurationRead(read);
        if (!PreparedThread.TryStart("configuration", one.Run, StackBytes))
            throw new IOException(PreparedThread.Refusal("configuration"));
        string? overdue = null;
        lock (one._gate)
        {
            while (!one._done && (overdue = one.Overdue()) is null)
                Monitor.Wait(one._gate, TimeSpan.FromMilliseconds(50));
            return one is { _done: true, Options: { } options } ? options
                : throw new ConfigurationException(one._done ? one.Errors : [overdue!]);
        }
    }

    /// <summary>By the thread that may hang.</summary>
    public void Run()
    {
        _wait = FileWait.OfThisThread();
        DaemonOptions? options = null;
        IReadOnlyList<string> errors = [];
        try
        {
            options = read();
        }
        catch (ConfigurationException e)
        {
            errors = e.Errors;
        }
        catch (OutOfMemoryException)
        {
            errors = ["configuration: there is not enough memory to read it"];
        }
        catch (Exception e)
        {
            // Its message may quote the file.
            errors = [$"configuration: cannot be read; please report this fault ({e.GetType().Name})"];
        }

        lock (_gate)
        {
            (Options, Errors, _done) = (options, errors, true);
            Monitor.PulseAll(_gate);
        }
    }

    /// <returns>Null, or why the reading is to be given up.</returns>
    public string? Overdue()
    {
        if (_wait?.Silent(FilePatience) is { } path)
            return $"{path}: does not answer; its file system may be gone";
        return Environment.TickCount64 - _begunMs >= s_wholePatience.TotalMilliseconds
            ? $"configuration: was not read within {s_wholePatience.TotalSeconds} s" : null;
    }
}
