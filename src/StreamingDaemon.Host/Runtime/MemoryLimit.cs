using System.Globalization;
using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// How much memory streams may hold (<c>server.max_memory</c>): three quarters of the process's limit, minus
/// what the process needs without streams. The rest is for socket buffers in the kernel, garbage, and clients
/// that are refused. In a container, the garbage collector's limit is three quarters already.
/// </summary>
internal static class MemoryLimit
{
    /// <summary>What the process needs without streams: resident memory when idle, and the receive buffers
    /// of handoffs under load. Measured (docs/operations.md).</summary>
    private const long BaseBytes = 24L << 20;

    /// <summary>The least that streams get, so that a very small limit still serves a few.</summary>
    private const long LeastBytes = 4L << 20;

    /// <summary>The budget of all streams.</summary>
    /// <param name="maxMemory">server.max_memory in bytes; 0 means the limit of the container, the unit or
    /// the machine.</param>
    /// <param name="backends">All backends: a stream is counted at the most that any of them needs.</param>
    public static MemoryBudget BudgetFor(long maxMemory, IEnumerable<IStreamingBackend> backends) =>
        new(StreamBytesOf(maxMemory, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, MachineBytes()),
            backends.Max(backend => backend.BytesPerStream));

    /// <summary>Resident memory, in bytes, above which garbage must go: half of what <see cref="BudgetFor"/>
    /// leaves for garbage is used.</summary>
    /// <param name="streamBytes">What streams may hold.</param>
    internal static long AlarmBytes(long streamBytes) => (streamBytes + BaseBytes) / 6 * 7;

    /// <summary>Bytes that streams may hold.</summary>
    /// <param name="maxMemory">server.max_memory in bytes, or 0.</param>
    /// <param name="collectorBytes">The garbage collector's hard limit, which is three quarters of a
    /// container's limit; without a limit, the machine's memory.</param>
    /// <param name="machineBytes">The machine's memory, or 0 if it is unknown.</param>
    internal static long StreamBytesOf(long maxMemory, long collectorBytes, long machineBytes)
    {
        // Compared with a margin of 1/64: the two numbers come from different sources.
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
