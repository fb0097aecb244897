namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// The file-system call that a thread is in, for another thread that watches it. A file of a dead NFS or FUSE
/// server blocks the call, and nothing ends it.
/// </summary>
internal sealed class FileWait
{
    [ThreadStatic]
    private static FileWait? s_ofThread;

    private volatile string? _path;
    private long _sinceMs;

    /// <summary>Makes this thread's calls visible.</summary>
    public static FileWait OfThisThread() => s_ofThread ??= new FileWait();

    /// <summary>The path that has not answered for that long, or null.</summary>
    public string? Silent(TimeSpan patience)
    {
        var path = _path;
        return path is not null && Environment.TickCount64 - Volatile.Read(ref _sinceMs)
            >= patience.TotalMilliseconds ? path : null;
    }

    /// <summary>A call begins; it ends when the result is disposed.</summary>
    public static Scope Begin(string path)
    {
        if (s_ofThread is { } wait)
        {
            Volatile.Write(ref wait._sinceMs, Environment.TickCount64);
            wait._path = path;
        }

        return default;
    }

    internal readonly struct Scope : IDisposable
    {
        public void Dispose()
        {
            if (s_ofThread is { } wait)
                wait._path = null;
        }
    }
}
