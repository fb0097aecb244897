using System.Runtime.InteropServices;

namespace StreamingDaemon.Testing;

/// <summary>A full pipe that nobody reads.</summary>
public sealed unsafe partial class FullPipe : IDisposable
{
    private const int NonBlocking = 0x800;
    private const int CloseOnExec = 0x80000;
    private const int SetPipeSize = 1031;
    private const int PageBytes = 4096;
    private readonly int _read;
    private readonly int _write;

    [LibraryImport("libc", EntryPoint = "pipe2", SetLastError = true)]
    private static partial int PipeRaw(int* pair, int flags);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int FcntlRaw(int fd, int command, int argument);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint WriteRaw(int fd, byte* bytes, nuint count);

    public FullPipe()
    {
        var pair = stackalloc int[2];
        if (PipeRaw(pair, NonBlocking | CloseOnExec) < 0 || FcntlRaw(pair[1], SetPipeSize, PageBytes) < 0)
            throw new PosixException("pipe2", Marshal.GetLastPInvokeError());
        (_read, _write) = (pair[0], pair[1]);
        var page = stackalloc byte[PageBytes];
        while (WriteRaw(_write, page, PageBytes) > 0)
        {
        }
    }

    /// <summary>The path that another process opens to write to it. Its writes then block, because the open
    /// file is its own and not non-blocking.</summary>
    public string Path => $"/proc/{Environment.ProcessId}/fd/{_write}";

    public void Dispose()
    {
        _ = Posix.Close(_read);
        _ = Posix.Close(_write);
    }
}
