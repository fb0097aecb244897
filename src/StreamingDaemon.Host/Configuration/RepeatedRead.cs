using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Reads a file again while the daemon runs. If its file system does not answer, the read is given up: its
/// thread is left behind, and there is no second one before it returns. No thread of the pool waits for it
/// longer than <see cref="Patience"/>. Thread-safe.
/// </summary>
/// <param name="read">Reads it. May hang.</param>
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
    /// <returns>Null if it cannot be used, or does not answer.</returns>
    public T? Read()
    {
        lock (_gate)
        {
            if (!_isReading)
            {
                // Without a thread, what is known holds.
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
            // Its next reader may find a better one.
        }

        lock (_gate)
        {
            (_result, _isReading) = (result, false);
            _done++;
            Monitor.PulseAll(_gate);
        }
    }
}
