using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Clients;

/// <summary>Stands between the loop and the kernel, for tests: makes, changes or answers a call on a client's
/// socket.</summary>
/// <returns>The call's result: bytes, 0, or a negative errno.</returns>
internal delegate int ClientCallFault(in ClientCall call);

/// <summary>One call on a client's socket, not yet made.</summary>
internal readonly unsafe struct ClientCall(OperationKind kind, int fd, byte* bytes, int length)
{
    private readonly byte* _bytes = bytes;

    public OperationKind Kind => kind;

    public int Fd => fd;

    public int Length => length;

    /// <summary>Makes it, with at most this many bytes.</summary>
    public int Proceed(int most = int.MaxValue) => Make(kind, fd, _bytes, Math.Min(length, most));

    public static int Make(OperationKind kind, int fd, byte* bytes, int length) => kind switch
    {
        OperationKind.ClientSend => LinuxNative.Send(fd, bytes, length, MsgDontWait | MsgNoSignal),
        OperationKind.ClientRead => LinuxNative.Recv(fd, bytes, length, MsgDontWait),
        OperationKind.ClientCloseNotify =>
            LinuxNative.SendMsg(fd, CloseNotify.Message, MsgDontWait | MsgNoSignal),
        _ => LinuxNative.Shutdown(fd, ShutWr),
    };
}

/// <summary>A call that another thread has made, or that was not made.</summary>
/// <param name="Client">Whose socket.</param>
/// <param name="Kind">What call.</param>
/// <param name="Result">Its result.</param>
/// <param name="Ns">CPU time that it took, or 0 if that was not measured.</param>
/// <param name="EndsClient">True if no thread may make the call, so its client ends.</param>
internal readonly record struct ReturnedCall(
    ClientConnection Client, OperationKind Kind, int Result, long Ns = 0, bool EndsClient = false);

/// <summary>Ends a loop's thread that was replaced while it hung in a call. The thread must do nothing
/// else.</summary>
internal sealed class LoopReplacedException(ReturnedCall call) : Exception
{
    public ReturnedCall Call => call;
}
