namespace StreamingDaemon.Uring.Threads;

/// <summary>Descriptors from outside that a loop gives up in one turn: closed off its thread, and handed over
/// together. Loop-owned.</summary>
internal sealed class ReleaseBatch(ServerThreads threads, Action<int>? releasing)
{
    private readonly List<Release> _releases = [];

    public void Add(int fd, ReleaseKind kind)
    {
        releasing?.Invoke(fd);
        _releases.Add(new Release(fd, kind));
    }

    /// <summary>Once a turn.</summary>
    public void HandOver()
    {
        if (_releases.Count == 0)
            return;
        threads.Releaser.Post(_releases);
        threads.Monitor.Wake();
    }
}
