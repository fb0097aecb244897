using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

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

    private static long s_survived;

    /// <summary>How often one of the daemon's threads found no memory, and went on.</summary>
    public static long Survived => Volatile.Read(ref s_survived);

    private static ReadOnlySpan<byte> Sentence =>
        "streaming-daemon: out of memory, the process ends. Raise the memory limit of the container "u8;

    private static ReadOnlySpan<byte> Mend => "or unit, or lower server.max_memory or max_connections\n"u8;

    /// <summary>From here on, the exception ends the process as said above if nobody catches it.</summary>
    public static void Watch()
    {
        // Both are resolved now: later there may be no memory to do so.
        Say([]);
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

    /// <summary>Ends the process with a sentence and exit code 1. Allocates nothing.</summary>
    public static void End()
    {
        Say(Sentence);
        Say(Mend);
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
        fixed (byte* bytes = text)
            _ = Write(StandardError, bytes, (nuint)text.Length);
    }

    [LibraryImport("libc", EntryPoint = "write")]
    private static unsafe partial nint Write(int fd, byte* bytes, nuint length);

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void Exit(int status);
}
