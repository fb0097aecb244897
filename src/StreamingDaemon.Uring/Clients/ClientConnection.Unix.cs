using System.Numerics;
using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Clients;

// The kernel counts what a Unix client has not read as memory of the sender: of this process's container,
// and also after the close. (For TCP, it counts for the process that accepted the connection.) Another holder
// of the socket may raise its buffer to megabytes, so the loop bounds it itself.
internal sealed partial class ClientConnection
{
    /// <summary>Send buffer of a Unix client, as the kernel counts it: twice what is asked for. Poll reports
    /// no room from a quarter of it on.</summary>
    public const int UnixSendBuffer = 48 * 1024;

    /// <summary>Unread bytes in the kernel, as it counts them, beyond which no more are sent. If poll reports
    /// room, one more message fits.</summary>
    public const int MostInKernel = (UnixSendBuffer / 4) + 4096 + MessageHead;

    /// <summary>What the kernel adds to the memory of a message: struct sk_buff.</summary>
    private const int MessageHead = 256;

    /// <summary>What stands behind a message's bytes in the same memory: struct skb_shared_info.</summary>
    private const int MessageTail = 320;

    /// <summary>Most bytes of a message: with its tail, it takes 4 KiB.</summary>
    private const int LongestMessage = 4096 - MessageTail;

    /// <summary>Bytes of the next send.</summary>
    private int _sendLength;

    /// <summary>Unread bytes in the kernel, at most: those at the last look, and all sent since.</summary>
    private int _inKernelAtMost;

    /// <summary>Those at the last look, which the memory budget holds: none if the client reads.</summary>
    private int _heldInKernel;

    /// <summary>Sets how many of its bytes the next send to a Unix client may take.</summary>
    /// <returns>False if the client must read first; that is waited for.</returns>
    private bool HasRoomInKernel()
    {
        _sendLength = Math.Min(UnsentLength, LongestMessage);
        // The kernel allocates in powers of two.
        var taken = (int)BitOperations.RoundUpToPowerOf2((uint)(_sendLength + MessageTail)) + MessageHead;
        if (_inKernelAtMost + taken > MostInKernel)
        {
            // A read of a counter, without the socket's lock (unix_outq_len). If the client reads, it is once
            // in some twenty events.
            _inKernelAtMost = Math.Max(0, LinuxNative.GetUnsentBytes(Fd));
            HoldInKernel(_inKernelAtMost);
        }

        if (_inKernelAtMost + taken <= MostInKernel)
        {
            _inKernelAtMost += taken;
            return true;
        }

        // Poll shows when there is room, unless another holder has raised the buffer: then a timer does.
        if (_fruitlessSends++ == 0)
            AwaitWritable();
        else
            Stall(ClientEnd.SlowClient);
        return false;
    }

    private void HoldInKernel(int bytes)
    {
        if (bytes == _heldInKernel)
            return;
        Loop.Options.Memory.HoldInKernel(bytes - _heldInKernel);
        _heldInKernel = bytes;
    }
}
