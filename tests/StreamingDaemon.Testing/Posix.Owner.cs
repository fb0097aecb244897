using System.Runtime.InteropServices;

namespace StreamingDaemon.Testing;

// The owner of a socket, and who listens behind one.
public static unsafe partial class Posix
{
    private const int SetOwner = 8; // F_SETOWN
    private const int SetFlags = 4; // F_SETFL
    private const int Async = 0x2000; // O_ASYNC
    private const int SolSocketLevel = 1;
    private const int SoPeerCredentials = 17;

    [LibraryImport("libc", EntryPoint = "getsockopt", SetLastError = true)]
    private static partial int GetSockOptRaw(int fd, int level, int option, int* value, int* length);

    /// <summary>Has the kernel send SIGIO to a process whenever the socket is ready (O_ASYNC).</summary>
    public static void SignalWhenReady(int fd, int pid)
    {
        Check(FcntlRaw(fd, SetOwner, pid), "F_SETOWN");
        Check(FcntlRaw(fd, SetFlags, Async), "F_SETFL");
    }

    /// <summary>The process that listens where this Unix socket is connected to (SO_PEERCRED).</summary>
    public static int ListenerOf(int fd)
    {
        // struct ucred: process, user, group.
        var credentials = stackalloc int[3];
        var length = 3 * sizeof(int);
        Check(GetSockOptRaw(fd, SolSocketLevel, SoPeerCredentials, credentials, &length), "SO_PEERCRED");
        return credentials[0];
    }
}
