using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>System calls that tests need and .NET does not offer. If one fails, it throws with the errno.
/// </summary>
public static unsafe partial class Posix
{
    public const int AfUnix = 1;
    public const int SockStream = 1;
    public const int SockDgram = 2;
    public const int SockSeqPacket = 5;
    private const int SockCloExec = 0x80000;

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    private static partial int SocketPairRaw(int domain, int type, int protocol, int* pair);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int SocketRaw(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    private static partial int ConnectRaw(int fd, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    private static partial nint SendMsgRaw(int fd, byte* message, int flags);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int CloseRaw(int fd);

    [LibraryImport("libc", EntryPoint = "pipe2", SetLastError = true)]
    private static partial int PipeRaw(int* pair, int flags);

    /// <summary>mkfifo(3) with access for the owner only. Returns 0, or -1 on failure.</summary>
    public static int MakeFifo(string path) => MakeFifoRaw(path, 0x180);

    [LibraryImport("libc", EntryPoint = "mkfifo", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeFifoRaw(string path, uint mode);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int KillRaw(int pid, int signal);

    /// <summary>rename(2): also replaces a link to a directory.</summary>
    public static void Rename(string from, string to) => Check(RenameRaw(from, to), "rename");

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameRaw(string from, string to);

    public static int Close(int fd) => CloseRaw(fd);

    /// <summary>dup(2): another descriptor of the same open file. Child processes inherit it.</summary>
    public static int Duplicate(int fd) => Check(DupRaw(fd), "dup");

    /// <summary>Sends the signal repeatedly, because the daemon ignores a signal right after another one.
    /// </summary>
    public static Task KillUntilAsync(int pid, int signal, Func<bool> hasExited) => Eventually.TrueAsync(() =>
    {
        if (!hasExited())
            _ = KillRaw(pid, signal);
        return hasExited();
    });

    public static void Kill(int pid, int signal) => Check(KillRaw(pid, signal), "kill");

    /// <summary>As above, for a process that may have ended.</summary>
    public static bool TryKill(int pid, int signal) => KillRaw(pid, signal) == 0;

    /// <summary>A connected pair of Unix sockets.</summary>
    public static (int Left, int Right) SocketPair(int type = SockStream)
    {
        var pair = stackalloc int[2];
        Check(SocketPairRaw(AfUnix, type | SockCloExec, 0, pair), "socketpair");
        return (pair[0], pair[1]);
    }

    /// <summary>A pipe: read end, write end.</summary>
    public static (int Read, int Write) Pipe()
    {
        var pair = stackalloc int[2];
        Check(PipeRaw(pair, SockCloExec), "pipe2");
        return (pair[0], pair[1]);
    }

    public static int NewSocket(int domain, int type) => Check(SocketRaw(domain, type | SockCloExec, 0), "socket");

    /// <summary>Connects to a Unix socket; the caller closes the descriptor.</summary>
    public static int ConnectUnix(string path, int type)
    {
        var fd = NewSocket(AfUnix, type);
        try
        {
            ConnectUnix(fd, path);
            return fd;
        }
        catch (PosixException)
        {
            _ = Close(fd);
            throw;
        }
    }

    /// <summary>Connects an existing socket.</summary>
    public static void ConnectUnix(int fd, string path)
    {
        Span<byte> address = stackalloc byte[110];
        address.Clear();
        address[0] = AfUnix;
        Encoding.UTF8.GetBytes(path, address[2..109]);
        fixed (byte* pointer = address)
        {
            Check(ConnectRaw(fd, pointer, 110), "connect");
        }
    }

    /// <summary>One sendmsg(2) with data and descriptors. Returns the number of bytes sent.</summary>
    public static int SendDescriptors(int fd, ReadOnlySpan<byte> data, params ReadOnlySpan<int> descriptors) =>
        SendDescriptorsWith(0, fd, data, descriptors);

    /// <summary>As <see cref="SendDescriptors"/>, with MSG_OOB: an urgent byte, which has its own place in the
    /// stream.</summary>
    public static int SendUrgentDescriptors(int fd, byte data, params ReadOnlySpan<int> descriptors) =>
        SendDescriptorsWith(1, fd, [data], descriptors);

    private static int SendDescriptorsWith(
        int flags, int fd, ReadOnlySpan<byte> data, ReadOnlySpan<int> descriptors)
    {
        var message = stackalloc byte[56];
        var vector = stackalloc byte[16];
        var controlBytes = descriptors.IsEmpty ? 0 : 16 + ((descriptors.Length * 4 + 7) & ~7);
        var control = stackalloc byte[Math.Max(controlBytes, 1)];
        new Span<byte>(message, 56).Clear();
        fixed (byte* bytes = data)
        {
            *(byte**)vector = bytes;
            *(nuint*)(vector + 8) = (nuint)data.Length;
            *(byte**)(message + 16) = vector;
            *(nuint*)(message + 24) = 1;
            if (!descriptors.IsEmpty)
            {
                *(nuint*)control = (nuint)(16 + descriptors.Length * 4);
                *(int*)(control + 8) = 1;
                *(int*)(control + 12) = 1;
                descriptors.CopyTo(new Span<int>(control + 16, descriptors.Length));
                *(byte**)(message + 32) = control;
                *(nuint*)(message + 40) = (nuint)controlBytes;
            }

            return Check((int)SendMsgRaw(fd, message, 0x4000 | flags), "sendmsg");
        }
    }

    /// <summary>One recvmsg(2) of a handoff. Drops its data and returns its descriptor, which the caller
    /// closes.</summary>
    public static int ReceiveDescriptor(int fd)
    {
        const int MostBytes = 64 * 1024;
        var bytes = new byte[MostBytes];
        var message = stackalloc byte[56];
        var vector = stackalloc byte[16];
        var control = stackalloc byte[24];
        new Span<byte>(message, 56).Clear();
        fixed (byte* data = bytes)
        {
            *(byte**)vector = data;
            *(nuint*)(vector + 8) = MostBytes;
            *(byte**)(message + 16) = vector;
            *(nuint*)(message + 24) = 1;
            *(byte**)(message + 32) = control;
            *(nuint*)(message + 40) = 24;
            Check((int)ReceiveMsgRaw(fd, message, 0), "recvmsg");
        }

        return *(nuint*)(message + 40) >= 20 ? *(int*)(control + 16) : throw new PosixException("recvmsg", 0);
    }

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint ReceiveMsgRaw(int fd, byte* message, int flags);

    /// <summary>Wraps a descriptor; the socket owns it from then on.</summary>
    public static Socket ToSocket(int fd) => new(new SafeSocketHandle(fd, ownsHandle: true));

    private static int Check(int result, string call) =>
        result >= 0 ? result : throw new PosixException(call, Marshal.GetLastPInvokeError());
}

/// <summary>A system call failed.</summary>
public sealed class PosixException(string call, int errno)
    : Exception($"{call}: {Marshal.GetPInvokeErrorMessage(errno)} ({errno})")
{
    public int Errno { get; } = errno;
}
