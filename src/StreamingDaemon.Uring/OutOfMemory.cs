using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.Uring;

/// <summary>
/// How an <see cref="OutOfMemoryException"/> is handled. The daemon's own threads count it and go on. If they
/// cannot, or it comes on a thread of the runtime, the process ends with a sentence and exit code 1. An
/// unhandled exception would be a core dump and exit code 134.
/// </summary>
public static partial class OutOfMemory
{
    private const int StandardError = 2;

    /// <summary>How long a thread that found no memory waits for others to give some back.</summary>
    private const int PauseMs = 10;

    /// <summary>Longest wait until somebody reads standard error.</summary>
    private const int PatienceMs = 2_000;

    private const short PollOut = 0x4;

    /// <summary>What the process says before it ends.</summary>
    public const string Advice = "out of memory, the process ends. Raise the memory limit of the container "
        + "or unit, or lower server.max_memory or max_connections";

    /// <summary>The same as a line. Made early: later there is no memory for it.</summary>
    private static readonly byte[] s_sentence = Encoding.UTF8.GetBytes($"streaming-daemon: {Advice}\n");

    private static long s_survived;
    private static int s_ending;

    /// <summary>True after <see cref="Watch"/>: the daemon runs, and what it lacks is memory.</summary>
    public static bool IsWatched { get; private set; }

    /// <summary>How often one of the daemon's threads found no memory, and went on.</summary>
    public static long Survived => Volatile.Read(ref s_survived);

    /// <summary>From here on, the exception ends the process as said above if nobody catches it.</summary>
    public static void Watch()
    {
        // The calls are resolved now: later there may be no memory to do so.
        Say([]);
        IsWatched = true;
        // Asked first, and without an allocation, but not for each of the runtime's own threads.
        ExceptionHandling.SetUnhandledExceptionHandler(static exception => EndIfOutOfMemory(exception));
        AppDomain.CurrentDomain.UnhandledException +=
            static (_, fault) => EndIfOutOfMemory(fault.ExceptionObject);
    }

    /// <summary>One of the daemon's threads found no memory, and goes on after a moment.</summary>
    public static void Survive()
    {
        Interlocked.Increment(ref s_survived);
        Thread.Sleep(PauseMs);
    }

    /// <summary>Ends the process with a sentence and exit code 1. Allocates nothing. Does not wait for a log
    /// that nobody reads.</summary>
    public static void End()
    {
        // Another thread says it.
        if (Interlocked.Exchange(ref s_ending, 1) != 0)
            Thread.Sleep(Timeout.Infinite);
        Say(s_sentence);
        Exit(1);
    }

    /// <returns>False: any other exception stays unhandled.</returns>
    private static bool EndIfOutOfMemory(object fault)
    {
        if (fault is OutOfMemoryException)
            End();
        return false;
    }

    private static unsafe void Say(ReadOnlySpan<byte> text)
    {
        var entry = new PollFd { Fd = StandardError, Events = PollOut };
        fixed (byte* bytes = text)
        {
            if (Poll(&entry, 1, text.IsEmpty ? 0 : PatienceMs) > 0)
                _ = Write(StandardError, bytes, (nuint)text.Length);
        }
    }

    /// <summary>struct pollfd of poll(2).</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }

    [LibraryImport("libc", EntryPoint = "poll")]
    private static unsafe partial int Poll(PollFd* entries, nuint count, int timeoutMs);

    [LibraryImport("libc", EntryPoint = "write")]
    private static unsafe partial nint Write(int fd, byte* bytes, nuint length);

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void Exit(int status);
}
