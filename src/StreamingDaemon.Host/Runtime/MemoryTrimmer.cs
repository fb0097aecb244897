using System.Buffers;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Returns a burst's memory to the system once the burst is over. The runtime would keep it for the next
/// burst, but that may be tomorrow, and the site needs the memory back. The start is a burst too: it leaves
/// more garbage than live objects. It also collects garbage if memory is short: the collector knows neither
/// the native heap nor how soon the system would kill the process.
/// </summary>
internal sealed class MemoryTrimmer(HandoffServer server) : IHostedService, IDisposable
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    /// <summary>Looks from one look for a burst's end to the next.</summary>
    private const int LooksForBurst = 5;

    /// <summary>Fewer streams than this leave too little memory to return.</summary>
    private const int SmallestBurst = 64;

    /// <summary>Number of looks for it in a row that must find the burst over.</summary>
    private const int QuietLooks = 2;

    /// <summary>Handoffs between two looks for a burst that are a flood: 200 a second. The memory of fewer
    /// is used again by the next minute's streams.</summary>
    private const int SmallestFlood = 1_000;

    /// <summary>Looks for a burst after the end of a flood in which no other flood counts: two minutes. Each
    /// collection pauses the streams that go on.</summary>
    private const int LooksBetweenFloods = 24;

    /// <summary>Looks after a collection that are not followed by another one.</summary>
    private const int LooksBetweenAlarms = 2;

    private Timer? _timer;
    private int _peak = SmallestBurst;
    private int _quiet;
    private int _looks;
    private int _pause;
    private long _handoffs;
    private long _flood;
    private int _quietAfterFlood;
    private int _untilNextFlood;

    /// <summary>Decides whether to trim.</summary>
    /// <param name="active">Streams now.</param>
    /// <param name="peak">Most streams at once since the last look.</param>
    /// <returns>True if it is time to trim.</returns>
    internal bool IsBurstOver(int active, int peak)
    {
        _peak = Math.Max(_peak, peak);
        // Streams that still run are paused for some milliseconds: worth it for the memory of many others.
        _quiet = _peak >= SmallestBurst && active <= _peak / 8 ? _quiet + 1 : 0;
        if (_quiet < QuietLooks)
            return false;
        _quiet = 0;
        _peak = active;
        return true;
    }

    /// <summary>Decides whether to trim after many handoffs, although as many streams go on as before: most
    /// of those handed over were refused, or have ended.</summary>
    /// <param name="handoffs">All handoffs so far.</param>
    /// <returns>True if it is time to trim.</returns>
    internal bool IsFloodOver(long handoffs)
    {
        var added = handoffs - _handoffs;
        _handoffs = handoffs;
        _untilNextFlood = Math.Max(0, _untilNextFlood - 1);
        _flood = Math.Max(_flood, added);
        _quietAfterFlood = _flood >= SmallestFlood && added <= _flood / 8 ? _quietAfterFlood + 1 : 0;
        if (_quietAfterFlood < QuietLooks || _untilNextFlood > 0)
            return false;
        (_quietAfterFlood, _flood, _untilNextFlood) = (0, 0, LooksBetweenFloods);
        return true;
    }

    /// <summary>Decides whether to collect at once. Then not again for some looks: it stops all threads, and
    /// frees little if it has just freed all.</summary>
    /// <param name="memory">What streams hold.</param>
    /// <param name="resident">Resident memory of the process, in bytes.</param>
    internal bool IsMemoryShort(MemoryBudget memory, long resident)
    {
        if (_pause > 0)
        {
            _pause--;
            return false;
        }

        var isShort = memory.Held > memory.Limit / 2
            && resident + memory.HeldInKernel > MemoryLimit.AlarmBytes(memory.Limit);
        if (isShort)
            _pause = LooksBetweenAlarms;
        return isShort;
    }

    public Task StartAsync(CancellationToken cancellationToken)
    {
        _timer = new Timer(static trimmer => ((MemoryTrimmer)trimmer!).Look(), this, s_interval, s_interval);
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
            if (IsMemoryShort(server.Memory, Environment.WorkingSet))
                Trim();
            if (++_looks % LooksForBurst != 0)
                return;
            var statistics = server.Statistics;
            var isBurstOver = IsBurstOver(statistics.ActiveConnections, statistics.TakeRecentPeak());
            if (IsFloodOver(statistics.Accepted) || isBurstOver)
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

    /// <summary>Takes all arrays out of the shared pool, so that the collector frees them. By itself the
    /// pool drops them one by one, over many collections of the oldest generation.</summary>
    private static void EmptyArrayPool()
    {
        for (var length = 256; length <= 256 * 1024; length *= 2)
        {
            var allocated = GC.GetAllocatedBytesForCurrentThread();
            while (ArrayPool<byte>.Shared.Rent(length) is not null
                && GC.GetAllocatedBytesForCurrentThread() == allocated)
            {
                // This array came from the pool. The first newly allocated one shows that the pool is empty.
            }
        }
    }
}
