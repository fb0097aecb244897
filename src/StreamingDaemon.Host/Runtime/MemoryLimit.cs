using System.Globalization;
using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// How much streams may hold (<c>server.max_memory</c>): three quarters of what the process may take, less
/// what it takes without them. The rest is for the kernel's share of a socket, for garbage and for what is
/// refused. In a container the collector's own limit is those three quarters already.
/// </summary>
internal static class MemoryLimit
{
    /// <summary>Resident at rest, and the receive areas of handoffs under load. Measured
    /// (docs/operations.md).</summary>
    private const long BaseBytes = 24L << 20;

    /// <summary>A limit that holds no more than the process itself still serves a few.</summary>
    private const long LeastBytes = 4L << 20;

    /// <param name="maxMemory">The option; 0 is what the container, the unit or the machine allows.</param>
    /// <param name="backends">Any handoff may ask for any of them.</param>
    public static MemoryBudget BudgetFor(long maxMemory, IEnumerable<IStreamingBackend> backends) =>
        new(StreamBytesOf(maxMemory, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, MachineBytes()),
            backends.Max(backend => backend.BytesPerStream));

    /// <param name="maxMemory">The option, or 0.</param>
    /// <param name="collectorBytes">What the collector may take: its hard limit, which is three quarters of a
    /// container's, or the machine's memory if it has none.</param>
    /// <param name="machineBytes">The machine's memory, or 0 if it is unknown.</param>
    internal static long StreamBytesOf(long maxMemory, long collectorBytes, long machineBytes)
    {
        // Told apart with a little room: the two are read from different places.
        var isLimited = machineBytes == 0 || collectorBytes < machineBytes - (machineBytes / 64);
        var available = maxMemory > 0 ? maxMemory / 4 * 3
            : isLimited ? collectorBytes
            : collectorBytes / 4 * 3;
        return Math.Max(available - BaseBytes, LeastBytes);
    }

    private static long MachineBytes()
    {
        try
        {
            // MemTotal:       24576000 kB
            var line = File.ReadLines("/proc/meminfo").First();
            var number = line.AsSpan("MemTotal:".Length).Trim();
            return long.Parse(number[..^" kB".Length], NumberStyles.None, CultureInfo.InvariantCulture) << 10;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException
            or ArgumentException or InvalidOperationException)
        {
            return 0;
        }
    }
}
