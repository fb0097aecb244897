using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Reads a file again while the daemon runs. If its file system does not answer, the caller waits no longer
/// than <see cref="Patience"/>. The thread that reads is left behind, and no other read begins before it
/// returns. Thread-safe.
/// </summary>
/// <param name="read">Reads the file. May hang.</param>
internal sealed class RepeatedRead<T>(Func<T?> read)
    where T : class
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly object _gate = new();
    private T? _result;
    private long _begunMs;
    private long _done;
    private bool _isReading;

    /// <summary>What is in the file now.</summary>
    /// <returns>Null if the file cannot be used, or its file system does not answer.</returns>
    public T? Read()
    {
        lock (_gate)
        {
            if (!_isReading)
            {
                // The system refuses a thread: the caller keeps what it has.
                if (!PreparedThread.TryStart("file", Run, ConfigurationRead.StackBytes))
                    return null;
                (_isReading, _begunMs) = (true, Environment.TickCount64);
            }

            var before = _done;
            while (_done == before && LeftMs() is > 0 and var left)
                Monitor.Wait(_gate, TimeSpan.FromMilliseconds(left));
            return _done == before ? null : _result;
        }
    }

    private long LeftMs() => _begunMs + (long)Patience.TotalMilliseconds - Environment.TickCount64;

    private void Run()
    {
        T? result = null;
        try
        {
            result = read();
        }
        catch (OutOfMemoryException)
        {
            Uring.OutOfMemory.Survive();
        }
        catch (IOException)
        {
            // The file cannot be used now; the next read may find it in order.
        }

        lock (_gate)
        {
            (_result, _isReading) = (result, false);
            _done++;
            Monitor.PulseAll(_gate);
        }
    }
}
