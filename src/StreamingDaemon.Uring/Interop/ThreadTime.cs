using System.Runtime.InteropServices;

namespace StreamingDaemon.Uring.Interop;

/// <summary>How long a thread has run on a core.</summary>
internal static unsafe partial class ThreadTime
{
    // CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED (include/linux/posix-timers.h): the clock of a thread, which
    // pthread_getcpuclockid(3) makes in the same way.
    private const int ThreadClock = 6;
    private const int ThreadShift = 3;
    private const int OwnClock = 3; // CLOCK_THREAD_CPUTIME_ID
    private const int CoarseClock = 6; // CLOCK_MONOTONIC_COARSE
    private const long SlowestTickNs = 10_000_000; // CONFIG_HZ=100
    private const long NanosecondsPerSecond = 1_000_000_000;

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int ClockGetTime(int clock, long* time);

    [LibraryImport("libc", EntryPoint = "clock_getres")]
    private static partial int ClockGetResolution(int clock, long* time);

    /// <summary>In user code and in the kernel, nanoseconds.</summary>
    /// <param name="threadId">The kernel's number of a thread of this process, gettid(2).</param>
    /// <returns>0 if there is no such thread.</returns>
    public static long Of(int threadId) => Read((~threadId << ThreadShift) | ThreadClock);

    /// <summary>As <see cref="Of"/>, of the calling thread.</summary>
    public static long OfThisThread() => Read(OwnClock);

    /// <summary>How often the kernel's coarse clock moves on, which <see cref="Environment.TickCount64"/>
    /// reads: nanoseconds.</summary>
    public static long CoarseTickNs()
    {
        var time = stackalloc long[2];
        return ClockGetResolution(CoarseClock, time) == 0 ? time[1] : SlowestTickNs;
    }

    private static long Read(int clock)
    {
        var time = stackalloc long[2];
        return ClockGetTime(clock, time) == 0 ? (time[0] * NanosecondsPerSecond) + time[1] : 0;
    }
}
