using System.Buffers;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Gives back what a burst of streams took, once it is over: the runtime keeps it for the next one, but here
/// the next one may be tomorrow, and the memory is the site's.
/// </summary>
internal sealed class MemoryTrimmer(HandoffServer server) : IHostedService, IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    /// <summary>Of fewer streams than this there is nothing to be had back.</summary>
    private const int SmallestBurst = 64;

    /// <summary>Looks in a row that must find the burst over.</summary>
    private const int QuietLooks = 2;

    private Timer? _timer;
    private int _peak;
    private int _quiet;

    /// <summary>A look at the number of streams, as it is and at its peak since the last look.</summary>
    /// <returns>True if it is time to trim.</returns>
    internal bool IsBurstOver(int active, int peak)
    {
        _peak = Math.Max(_peak, peak);
        // Some still run, perhaps: the pause of some milliseconds is worth it for the memory of many.
        _quiet = _peak >= SmallestBurst && active <= _peak / 8 ? _quiet + 1 : 0;
        if (_quiet < QuietLooks)
            return false;
        _quiet = 0;
        _peak = active;
        return true;
    }

    public Task StartAsync(CancellationToken cancellationToken)
    {
        _timer = new Timer(static trimmer => ((MemoryTrimmer)trimmer!).Look(), this, Interval, Interval);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        Dispose();
        return Task.CompletedTask;
    }

    public void Dispose() => _timer?.Dispose();

    private void Look()
    {
        try
        {
            var statistics = server.Statistics;
            if (IsBurstOver(statistics.ActiveConnections, statistics.TakeRecentPeak()))
                Trim();
        }
        catch (OutOfMemoryException)
        {
            OutOfMemory.Survive();
        }
    }

    private void Trim()
    {
        EmptyArrayPool();
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        server.TrimMemory();
    }

    /// <summary>The shared pool forgets arrays one by one, over many collections of the oldest generation:
    /// takes them out, for the collector.</summary>
    private static void EmptyArrayPool()
    {
        for (var length = 256; length <= 256 * 1024; length *= 2)
        {
            var allocated = GC.GetAllocatedBytesForCurrentThread();
            while (ArrayPool<byte>.Shared.Rent(length) is not null
                && GC.GetAllocatedBytesForCurrentThread() == allocated)
            {
                // It was the pool's. The first that is new says that it is empty.
            }
        }
    }
}
