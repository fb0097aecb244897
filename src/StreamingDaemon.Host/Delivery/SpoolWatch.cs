using Microsoft.Win32.SafeHandles;

namespace StreamingDaemon.Host.Delivery;

/// <summary>When the spool's directory is read, and by which process. Used by one thread.</summary>
internal sealed class SpoolWatch(DeliverySpool spool) : IDisposable
{
    /// <summary>How often the lock is tried, and how soon files of another process are seen.</summary>
    public const int LookMs = 500;

    /// <summary>How long a directory that cannot be read is left alone.</summary>
    public const int UnreadableMs = 5_000;

    /// <summary>The directory is read this often, whatever anybody says.</summary>
    private const int ScanMs = 60_000;

    private SafeFileHandle? _lock;
    private string? _lockName;
    private long _nextLockLookMs;
    private long _nextLookMs;
    private long _nextScanMs;
    private long _touched;

    /// <summary>Takes the right to send.</summary>
    /// <returns>False if another process has it.</returns>
    public bool TryLock()
    {
        _lock?.Dispose();
        _lock = spool.TryLock();
        if (_lock is null)
            return false;
        _lockName = SpoolFiles.NameOf(_lock);
        spool.RemoveLeftovers();
        return true;
    }

    /// <summary>Whether this process has the right to send. If the directory was moved or removed, it must
    /// ask again: in the one that is there now, another process may have it.</summary>
    public bool HasLock(long nowMs)
    {
        if (_lock is null || nowMs < _nextLockLookMs)
            return _lock is not null;
        _nextLockLookMs = nowMs + LookMs;
        return SpoolFiles.NameOf(_lock) == _lockName;
    }

    /// <summary>Whether another process has changed something since the last scan.</summary>
    /// <param name="nowMs">The time.</param>
    /// <param name="isNow">Look now, not only twice a second.</param>
    public bool IsTouched(long nowMs, bool isNow)
    {
        if (!isNow && nowMs < _nextLookMs)
            return false;
        _nextLookMs = nowMs + LookMs;
        return spool.Touched() != _touched;
    }

    public bool IsScanDue(long nowMs) => nowMs >= _nextScanMs;

    /// <summary>Reads the names of what waits: slow, if it is much.</summary>
    public IReadOnlyList<SpoolName> Scan(long nowMs)
    {
        // Asked first: what changes during the scan is seen by the next one.
        var touched = spool.Touched();
        SpoolName[] names = [.. spool.Pending()];
        // One that failed is due again.
        (_touched, _nextScanMs) = (touched, nowMs + ScanMs);
        return names;
    }

    public void Dispose() => _lock?.Dispose();
}
