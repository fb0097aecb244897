using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// One read of the configuration, on a thread that may hang in it. If it hangs, the watching thread gives up
/// and leaves it behind.
/// </summary>
internal sealed class ConfigurationRead(Func<DaemonOptions> read)
{
    /// <summary>Stack for the parsers. They go no deeper than 64 levels.</summary>
    public const int StackBytes = 2 * 1024 * 1024;

    /// <summary>Time limit for one file. A start reports a hang within 2 s.</summary>
    public static readonly TimeSpan FilePatience = TimeSpan.FromMilliseconds(1_500);

    /// <summary>Time limit for everything: an overloaded machine is no reason to fail.</summary>
    private static readonly TimeSpan s_wholePatience = TimeSpan.FromSeconds(10);

    private readonly object _gate = new();
    private readonly long _begunMs = Environment.TickCount64;
    private volatile FileWait? _wait;
    private bool _done;

    /// <summary>The result, once the read is done; null if it is wrong.</summary>
    public DaemonOptions? Options { get; private set; }

    /// <summary>What is wrong, once the read is done.</summary>
    public IReadOnlyList<string> Errors { get; private set; } = [];

    /// <summary>Reads on its own thread, and waits for it with a time limit.</summary>
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

    /// <summary>Runs on the thread that may hang.</summary>
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
            // The exception's message may quote the file.
            errors = [$"configuration: cannot be read; please report this fault ({e.GetType().Name})"];
        }

        lock (_gate)
        {
            (Options, Errors, _done) = (options, errors, true);
            Monitor.PulseAll(_gate);
        }
    }

    /// <returns>Null, or why to give up.</returns>
    public string? Overdue()
    {
        if (_wait?.Silent(FilePatience) is { } path)
            return $"{path}: does not answer; its file system may be gone";
        return Environment.TickCount64 - _begunMs >= s_wholePatience.TotalMilliseconds
            ? $"configuration: was not read within {s_wholePatience.TotalSeconds} s" : null;
    }
}
