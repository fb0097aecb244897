using System.Runtime.InteropServices;

namespace StreamingDaemon.Host.Runtime;

/// <summary>
/// Opens descriptors 0 to 2 if the process was started with them closed. Otherwise sockets would get these
/// numbers, and a client would read what was written to standard error.
/// </summary>
internal static partial class StandardStreams
{
    private const int ReadWrite = 0x2; // O_RDWR
    private const int GetDescriptorFlags = 1; // F_GETFD
    private const int CloseOnExec = 1; // FD_CLOEXEC
    private const int SizeExceeded = 25; // SIGXFSZ
    private const nint Ignored = 1; // SIG_IGN

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "fcntl")]
    private static partial int Fcntl(int fd, int command, int argument);

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint SetHandler(int signal, nint handler);

    /// <summary>Ignores SIGXFSZ. If a log file reaches its size limit (RLIMIT_FSIZE), the write fails instead
    /// of ending the process.</summary>
    public static void OutliveFullFiles() => _ = SetHandler(SizeExceeded, Ignored);

    /// <summary>Opens /dev/null on each of 0 to 2 that is closed. Call it before anything else is opened.
    /// </summary>
    public static void Fill()
    {
        int fd;
        while ((fd = Open("/dev/null", ReadWrite)) is >= 0 and <= 2)
        {
        }

        if (fd > 2)
            _ = Close(fd);
        // The runtime ran before us, and may have used a number for one of its pipes. Its descriptors are
        // marked close-on-exec. Inherited ones cannot be: they survived an exec.
        if (IsTheRuntimes(0))
            Console.SetIn(TextReader.Null);
        if (IsTheRuntimes(1))
            Console.SetOut(TextWriter.Null);
        if (IsTheRuntimes(2))
        {
            Console.SetError(TextWriter.Null);
            LastWords.IsMuted = true;
        }
    }

    private static bool IsTheRuntimes(int fd) => Fcntl(fd, GetDescriptorFlags, 0) is > 0 and var flags
        && (flags & CloseOnExec) != 0;
}
