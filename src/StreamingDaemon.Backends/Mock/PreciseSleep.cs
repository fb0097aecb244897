using System.Diagnostics;
using System.Runtime.InteropServices;

namespace StreamingDaemon.Backends.Mock;

/// <summary>Sleeps by the kernel's high-resolution timers. The runtime's sleep counts whole milliseconds,
/// from the moment it is called.</summary>
internal static partial class PreciseSleep
{
    /// <summary>Sleeps until a moment, in ticks of <see cref="Stopwatch"/>. It takes some 60 us longer, or
    /// less if a signal arrives (nanosleep(2)).</summary>
    public static void Until(long timestamp)
    {
        var left = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), timestamp);
        if (left <= TimeSpan.Zero)
            return;
        var request = new Timespec
        {
            Seconds = left.Ticks / TimeSpan.TicksPerSecond,
            Nanoseconds = left.Ticks % TimeSpan.TicksPerSecond * TimeSpan.NanosecondsPerTick,
        };
        _ = NanoSleep(request, 0);
    }

    [LibraryImport("libc", EntryPoint = "nanosleep")]
    private static partial int NanoSleep(in Timespec request, nint remaining);

    /// <summary><c>struct timespec</c>.</summary>
    private struct Timespec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
