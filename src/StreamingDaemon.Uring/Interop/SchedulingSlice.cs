using System.Runtime.InteropServices;

namespace StreamingDaemon.Uring.Interop;

/// <summary>
/// Asks the scheduler to run the calling thread soon rather than long (sched_setattr(2), sched_runtime of
/// SCHED_OTHER, from 6.12). A thread with a shorter slice has an earlier deadline, and takes the core from
/// one with a longer slice when it wakes up: the loop's turns are short, and everybody waits for them.
/// </summary>
internal static unsafe class SchedulingSlice
{
    /// <summary>The shortest that the kernel accepts, nanoseconds; its default is some 3 ms.</summary>
    public const ulong Shortest = 100_000;

    private const int ResetOnFork = 0x01;
    private const uint Batch = 3;

    /// <summary>Set here for the calling thread, but not for threads it starts. Does nothing if the kernel is
    /// older, a filter forbids it, or the operator has chosen another policy or a higher priority.</summary>
    public static void ShortenForThisThread()
    {
        Attributes attributes;
        if (LinuxNative.SchedGetAttributes(&attributes, Attributes.FirstSize) < 0
            || attributes.Policy != 0 || attributes.Nice < 0)
        {
            return;
        }

        attributes.Size = Attributes.FirstSize;
        attributes.Flags = ResetOnFork;
        attributes.Runtime = Shortest;
        _ = LinuxNative.SchedSetAttributes(&attributes);
    }

    /// <summary>The calling thread no longer takes a core from another one when it wakes up (SCHED_BATCH,
    /// sched(7)): for work that nobody waits for.</summary>
    public static void YieldToOthers()
    {
        Attributes attributes;
        if (LinuxNative.SchedGetAttributes(&attributes, Attributes.FirstSize) < 0 || attributes.Policy != 0)
            return;
        attributes.Size = Attributes.FirstSize;
        attributes.Policy = Batch;
        attributes.Flags = 0;
        _ = LinuxNative.SchedSetAttributes(&attributes);
    }

    /// <summary>struct sched_attr, its first version (include/uapi/linux/sched/types.h).</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Attributes
    {
        /// <summary>SCHED_ATTR_SIZE_VER0.</summary>
        public const uint FirstSize = 48;

        public uint Size;
        public uint Policy;
        public ulong Flags;
        public int Nice;
        public uint Priority;
        public ulong Runtime;
        public ulong Deadline;
        public ulong Period;
    }
}
