using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// The error message of a process that ends because the system refuses it memory, a thread or a descriptor.
/// It is written without the runtime's console, which would first need all of these.
/// </summary>
/// <remarks>The calls stand here although <see cref="OutOfMemory"/> has them too. Made from its assembly,
/// they failed under 100 MiB of address space, and the start aborted instead of saying why.</remarks>
internal static partial class LastWords
{
    private const string Memory =
        "the system refuses memory or a thread. Raise its limit of tasks: TasksMax= of the unit, the "
        + "container's limit of pids, or ulimit -u; or give it memory: the container's limit, or ulimit -v";

    private const string Descriptors =
        "no file descriptor is left. Raise the limit: ulimit -n 20000; systemd: LimitNOFILE=20000; Docker: "
        + "--ulimit nofile=20000";

    private const int NoMemory = 12; // ENOMEM
    private const int Again = 11; // EAGAIN from clone(2)
    private const int TableOfSystem = 23; // ENFILE
    private const int TableOfProcess = 24; // EMFILE
    private const int StandardError = 2;
    private const short PollOut = 0x4;
    private const int PatienceMs = 2_000;

    /// <summary>A pipe that poll(2) calls writable takes this much without blocking (PIPE_BUF).</summary>
    private const int MaxBytes = 4096;

    /// <summary>True if the process was started without a descriptor 2: it may be something else by now.
    /// </summary>
    public static bool IsMuted { get; set; }

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
    private static unsafe partial nint Write(int fd, byte* bytes, nuint count);

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void ExitNow(int code);

    /// <summary>Says what the system refused and how to fix it; null if the exception has another cause.
    /// </summary>
    public static string? Explain(Exception exception)
    {
        for (var cause = exception; cause is not null; cause = cause.InnerException)
        {
            if (cause is OutOfMemoryException && OutOfMemory.IsWatched)
                return OutOfMemory.Advice;
            // The runtime throws these two if pthread_create(3) or mmap(2) fails. Other causes have an errno.
            if (cause is OutOfMemoryException or ThreadStartException)
                return Memory;
            switch (cause is Win32Exception native ? native.NativeErrorCode
                : cause is IOException ? cause.HResult : 0)
            {
                // On a file, EAGAIN means a lock that another process holds.
                case NoMemory:
                case Again when cause is Win32Exception || exception is TypeInitializationException:
                    return Memory;
                case TableOfSystem or TableOfProcess:
                    return Descriptors;
            }
        }

        return null;
    }

    /// <summary>Is it descriptors that the system refused?</summary>
    public static bool IsOfDescriptors(Exception exception) => Explain(exception) == Descriptors;

    /// <summary>Writes a sentence to standard error; waits at most 2 s if nobody reads it.</summary>
    public static unsafe void Say(string sentence)
    {
        if (IsMuted)
            return;
        var bytes = Encoding.UTF8.GetBytes($"streaming-daemon: {sentence}\n");
        var entry = new PollFd { Fd = StandardError, Events = PollOut };
        fixed (byte* first = bytes)
        {
            if (Poll(&entry, 1, PatienceMs) > 0)
                _ = Write(StandardError, first, (nuint)Math.Min(bytes.Length, MaxBytes));
        }
    }

    /// <summary>Raised before an uncaught exception ends the process, to write what is still queued. Handlers
    /// must not take long.</summary>
    public static event Action? Crashing;

    /// <summary>Handles an uncaught exception on any thread. A shortage becomes one sentence and exit code 1.
    /// The runtime reports anything else, with its stack trace.</summary>
    public static void OnUnhandled(object sender, UnhandledExceptionEventArgs e)
    {
        // First of all: the rest needs memory.
        if (e.ExceptionObject is OutOfMemoryException && OutOfMemory.IsWatched)
            OutOfMemory.End();
        Crashing?.Invoke();
        if (e.ExceptionObject is not Exception exception || Explain(exception) is not { } sentence)
            return;
        Say(sentence);
        ExitNow(1);
    }
}
