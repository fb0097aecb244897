using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.Bench.Interop;

/// <summary>
/// Hands descriptors over as mod_socket_handoff does: a new SEQPACKET connection, one sendmsg(2) with the
/// data and one descriptor, close. The message is laid out once; only the descriptor changes. For one thread.
/// </summary>
internal sealed unsafe class HandoffSender : IDisposable
{
    private const int AddressBytes = 110, PathOffset = 2;
    private const int ControlBytes = 24, ControlUsed = 20, ControlDataOffset = 16;
    private const int SolSocket = 1, ScmRights = 1;

    private readonly byte* _memory;
    private readonly byte* _message;
    private readonly byte* _control;

    /// <exception cref="ArgumentException">The path is too long for a Unix socket.</exception>
    public HandoffSender(string socketPath, ReadOnlySpan<byte> data)
    {
        if (Encoding.UTF8.GetByteCount(socketPath) > AddressBytes - PathOffset - 2)
            throw new ArgumentException($"{socketPath}: longer than a Unix socket's path may be");
        // Address, then the structures of sendmsg(2) for a 64-bit Linux, then the data.
        _memory = (byte*)NativeMemory.AllocZeroed((nuint)(256 + data.Length + 1));
        *(short*)_memory = Native.AfUnix;
        Encoding.UTF8.GetBytes(socketPath, new Span<byte>(_memory + PathOffset, AddressBytes - PathOffset));
        _message = _memory + 112;
        _control = _memory + 168;
        var vector = _memory + 192;
        var bytes = _memory + 256;
        data.CopyTo(new Span<byte>(bytes, data.Length));
        *(byte**)vector = bytes;
        // Without data the module sends one NUL.
        *(nuint*)(vector + 8) = (nuint)Math.Max(data.Length, 1);
        *(byte**)(_message + 16) = vector;
        *(nuint*)(_message + 24) = 1;
        *(byte**)(_message + 32) = _control;
        *(nuint*)(_message + 40) = ControlBytes;
        *(nuint*)_control = ControlUsed;
        *(int*)(_control + 8) = SolSocket;
        *(int*)(_control + 12) = ScmRights;
    }

    /// <summary>Hands one descriptor over; the caller closes its copy. Waits if the daemon's queue is
    /// full.</summary>
    /// <returns>0, or the errno of the failed call.</returns>
    public int Send(int clientFd)
    {
        var connection = Native.Check(
            Native.NewSocket(Native.AfUnix, Native.SockSeqPacket | Native.CloseOnExec, 0), "socket");
        try
        {
            if (Native.Connect(connection, _memory, AddressBytes) < 0)
                return Native.Errno;
            *(int*)(_control + ControlDataOffset) = clientFd;
            return Native.SendMessage(connection, _message, Native.NoSignal) < 0 ? Native.Errno : 0;
        }
        finally
        {
            _ = Native.Close(connection);
        }
    }

    public void Dispose() => NativeMemory.Free(_memory);
}
