using System.IO.Enumeration;
using Prometheus;
using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>Metrics of the process against its limits: descriptors, the memory of its cgroup, lines of its
/// log. Read at each scrape; a number that is not there has no series.</summary>
internal sealed class ProcessMetrics
{
    private readonly CollectorRegistry _registry;
    private readonly Gauge _openFds, _maxFds, _cgroup, _cgroupMax;
    private readonly Counter _lostLines;

    public ProcessMetrics(CollectorRegistry registry)
    {
        _registry = registry;
        var factory = Metrics.WithCustomRegistry(registry);
        var unknown = new GaugeConfiguration { SuppressInitialValue = true };
        _openFds = factory.CreateGauge("process_open_fds", "Open descriptors.", unknown);
        _maxFds = factory.CreateGauge("process_max_fds", "Limit of open descriptors (nofile).", unknown);
        _cgroup = factory.CreateGauge("streaming_daemon_cgroup_memory_bytes",
            "Memory of the container or unit, without the cache of files that the kernel can drop.", unknown);
        _cgroupMax = factory.CreateGauge("streaming_daemon_cgroup_memory_max_bytes",
            "Limit of the memory of the container or unit; absent if it has none.", unknown);
        _lostLines = factory.CreateCounter("streaming_daemon_log_lines_lost_total",
            "Lines of the log that were lost: standard error did not take them.");
    }

    /// <param name="descriptorLimit">The limit of descriptors; null if it is not known yet.</param>
    /// <param name="lostLines">Lines of the log lost since the start.</param>
    public void Observe(Func<long?> descriptorLimit, Func<long> lostLines)
    {
        var cgroup = CgroupMemory.Find();
        _registry.AddBeforeCollectCallback(() =>
        {
            Set(_openFds, CountDescriptors());
            Set(_maxFds, descriptorLimit());
            Set(_cgroup, cgroup?.Used());
            Set(_cgroupMax, cgroup?.Limit());
            _lostLines.IncTo(lostLines());
        });
    }

    private static void Set(Gauge gauge, long? value)
    {
        if (value is { } number)
            gauge.Set(number);
        else
            gauge.Unpublish();
    }

    /// <returns>Null if /proc cannot be read.</returns>
    private static long? CountDescriptors()
    {
        try
        {
            // Without a string or a stat(2) for each of them.
            var entries = new FileSystemEnumerable<bool>("/proc/self/fd", (ref FileSystemEntry _) => true,
                new EnumerationOptions { AttributesToSkip = FileAttributes.None });
            // The descriptor that reads the directory is closed again.
            return entries.LongCount() - 1;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
