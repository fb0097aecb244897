namespace StreamingDaemon.Uring.Threads;

/// <summary>Outside descriptors that a loop gives up in one turn: handed over together, and closed on another
/// thread. Loop-owned.</summary>
internal sealed class ReleaseBatch(ServerThreads threads, Action<int>? releasing)
{
    private readonly List<Release> _releases = [];

    /// <summary>Descriptors of all loops that wait to be closed; may be a moment old.</summary>
    public int Waiting => threads.Releaser.WaitingDescriptors + threads.OddReleaser.WaitingDescriptors;

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
