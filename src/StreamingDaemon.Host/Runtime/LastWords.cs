using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// What a process says that cannot go on because the system refuses it something. Written past the console of
/// the runtime, which wants memory, a thread and descriptors of its own before its first word.
/// </summary>
internal static partial class LastWords
{
    private const string Memory =
        "the system refuses memory or a thread. Raise its limit of tasks: TasksMax= of the unit, the "
        + "container's limit of pids, or ulimit -u; or give it memory: the container's limit, or ulimit -v";

    private const string Descriptors =
        "no file descriptor is left. Raise the limit: ulimit -n 20000; systemd: LimitNOFILE=20000; Docker: "
        + "--ulimit nofile=20000";

    private const int NoMemory = 12; // ENOMEM
    private const int Again = 11; // EAGAIN, of clone(2)
    private const int TableOfSystem = 23; // ENFILE
    private const int TableOfProcess = 24; // EMFILE
    private const int StandardError = 2;
    private const short PollOut = 0x4;
    private const int PatienceMs = 2_000;

    /// <summary>What a pipe takes at once if poll(2) calls it writable (PIPE_BUF).</summary>
    private const int MaxBytes = 4096;

    /// <summary>Is descriptor 2 none that was given to this process?</summary>
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

    /// <summary>What the system refused, and what mends it; null if the exception has another
    /// cause.</summary>
    public static string? Explain(Exception exception)
    {
        for (var cause = exception; cause is not null; cause = cause.InnerException)
        {
            // What the runtime throws if pthread_create(3) or mmap(2) fails; else the errno.
            if (cause is OutOfMemoryException or ThreadStartException)
                return Memory;
            switch (cause is Win32Exception native ? native.NativeErrorCode
                : cause is IOException ? cause.HResult : 0)
            {
                // Of a file EAGAIN is a lock that somebody holds.
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

    /// <summary>Writes a sentence to standard error; not for long if nobody reads it.</summary>
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

    /// <summary>Called before the process ends of an exception that nobody catches: for what is still to be
    /// written. It must not take long.</summary>
    public static event Action? Crashing;

    /// <summary>An exception that nobody catches, on any thread: of a shortage one sentence and exit code 1.
    /// Of anything else the runtime tells, with its stack.</summary>
    public static void OnUnhandled(object sender, UnhandledExceptionEventArgs e)
    {
        Crashing?.Invoke();
        if (e.ExceptionObject is not Exception exception || Explain(exception) is not { } sentence)
            return;
        Say(sentence);
        ExitNow(1);
    }
}
