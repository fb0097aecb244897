using System.Runtime.InteropServices;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Threads;

/// <summary>What a descriptor to close is.</summary>
internal enum ReleaseKind : byte
{
    /// <summary>A connection of the module, which only this process holds.</summary>
    Connection,

    /// <summary>As <see cref="Connection"/>; its first message was looked at, and is still in its
    /// queue.</summary>
    ConnectionWithMessage,

    /// <summary>A client's socket.</summary>
    Client,

    /// <summary>A client's, of a Unix socket: what it has sent may hold descriptors.</summary>
    UnixClient,

    /// <summary>As <see cref="ConnectionWithMessage"/>; the message's contents may be slow to
    /// close.</summary>
    OddConnection,

    /// <summary>Anything that may be slow to close.</summary>
    Odd,

    /// <summary>A socket in <see cref="Threads.Exile"/>; the descriptor is its queue's.</summary>
    Exiled,
}

/// <summary>A descriptor to close; the releaser owns it from now on.</summary>
internal readonly record struct Release(int Fd, ReleaseKind Kind);

/// <summary>
/// Closes what came from outside, off the loop. The last close of a socket with SO_LINGER waits for its
/// reader. That of a large file waits for its pages. That of a socket waits for the lock of each epoll that
/// watches it, which another process may hold. Closing a connection closes every descriptor in its unread
/// messages.
/// </summary>
internal sealed class DescriptorReleaser : ReplaceableThread<Release>
{
    /// <summary>Closes that may hang at a time, each on a thread of its own.</summary>
    private const int MostHung = 64;

    /// <summary>Descriptors that end within it are closed together: one wake-up of the thread for
    /// many.</summary>
    private const int GatherMs = 10;

    /// <summary>Nothing else in this process uses it, and the system ignores it by default.</summary>
    private const int SigUrg = 23;

    /// <summary>What a Unix client may have sent: more than its queue holds by default.</summary>
    private const int MostDrains = 64;

    private const int DrainBytes = 16 * 1024;

    private readonly DescriptorReleaser? _odd;
    private readonly Exile _exile = new();
    private int _exiled;
    private long _lookedAt;

    /// <param name="name">Of the thread.</param>
    /// <param name="odd">Gets what may wait; null if this one does.</param>
    /// <param name="options">What the server was told.</param>
    /// <param name="spares">Take over if the system gives no thread.</param>
    /// <exception cref="HandoffServerException">The system refuses another thread.</exception>
    public DescriptorReleaser(
        string name, DescriptorReleaser? odd, HandoffServerOptions options, SpareThreads spares)
        : base(name, HungWork.Release, MostHung, options, spares)
    {
        _odd = odd;
        _ = LinuxNative.SetSignalHandler(SigUrg, HarmlessFunction());
    }

    /// <summary>Descriptors that are open and wait for their close, apart from those whose close hangs. From
    /// any thread; may be a moment old.</summary>
    public int WaitingDescriptors => Waiting - Volatile.Read(ref _exiled);

    /// <inheritdoc/>
    protected override bool MustSleepToHang => false;

    /// <summary>What the signal calls: it must be safe in a signal handler, which no managed code is.
    /// abs(3) takes an int, as a handler does, and only computes.</summary>
    private static nint HarmlessFunction() =>
        NativeLibrary.GetExport(NativeLibrary.GetMainProgramHandle(), "abs");

    /// <summary>Only from now on is nothing posted to the other releaser.</summary>
    protected override void OnEnded() => _odd?.End();

    protected override void OnStarted() => SchedulingSlice.YieldToOthers();

    protected override bool Gathers => true;

    protected override void Gather() => Thread.Sleep(GatherMs);

    protected override void Process(Release item, Worker worker)
    {
        if (IsJammed)
        {
            PutOff(item);
            return;
        }

        worker.BeginCall();
        if (_odd is not null && item.Kind != ReleaseKind.Exiled && IsOdd(item))
        {
            _odd.Post(item);
        }
        else
        {
            CloseNow(item);
        }

        worker.EndCall();
    }

    /// <summary>As many threads hang as may: no call that may wait is made until one has returned.</summary>
    private void PutOff(Release item)
    {
        if (item.Kind != ReleaseKind.Exiled && _exile.TrySend(item.Fd, out var queue))
        {
            Interlocked.Increment(ref _exiled);
            item = new Release(queue, ReleaseKind.Exiled);
        }

        Defer(item);
    }

    private void CloseNow(Release item)
    {
        switch (item.Kind)
        {
            case ReleaseKind.Exiled:
                Interlocked.Decrement(ref _exiled);
                _exile.Release(item.Fd);
                return;
            case ReleaseKind.OddConnection:
                TakeMessage(item.Fd);
                break;
            case ReleaseKind.UnixClient:
                Drain(item.Fd);
                break;
        }

        _ = LinuxNative.Close(item.Fd);
    }

    /// <summary>Asks only what the kernel answers at once. Another holder may change the socket until the
    /// close: then that close waits.</summary>
    private static bool IsOdd(Release item)
    {
        switch (item.Kind)
        {
            case ReleaseKind.Connection:
                return HoldsMessage(item.Fd);
            case ReleaseKind.ConnectionWithMessage:
                TakeMessage(item.Fd);
                return HoldsMessage(item.Fd);
            case ReleaseKind.Client:
                return LinuxNative.HasLinger(item.Fd);
            case ReleaseKind.UnixClient:
                return LinuxNative.GetUnreadBytes(item.Fd) != 0;
            default:
                return true;
        }
    }

    /// <summary>A peer that waits for the end of its connection would otherwise read ECONNRESET: unix(7)
    /// resets a connection closed with unread data.</summary>
    private static unsafe void TakeMessage(int fd)
    {
        byte nothing;
        _ = LinuxNative.Recv(fd, &nothing, 0, MsgDontWait);
    }

    /// <summary>As <see cref="TakeMessage"/>, of a client's stream.</summary>
    private static unsafe void Drain(int fd)
    {
        var nobodys = stackalloc byte[DrainBytes];
        for (var i = 0; i < MostDrains && LinuxNative.Recv(fd, nobodys, DrainBytes, MsgDontWait) > 0; i++)
        {
        }
    }

    /// <summary>Is there a message that nobody has looked at?</summary>
    private static unsafe bool HoldsMessage(int fd)
    {
        byte one;
        var vector = new IoVector { Base = &one, Length = 1 };
        var header = new MessageHeader { Vectors = &vector, VectorCount = 1 };
        return LinuxNative.RecvMsg(fd, &header, MsgPeek | MsgDontWait) > 0 || (header.Flags & MsgCTrunc) != 0;
    }

    /// <summary>A signal ends the wait of a lingering close; the kernel sends the rest after it
    /// (sk_stream_wait_close, tcp_close). A signal during any other call has no effect.</summary>
    protected override void OnLook(Worker worker)
    {
        var call = worker.Call;
        if ((call & 1) != 0 && call == _lookedAt)
            _ = LinuxNative.SignalThread(worker.ThreadId, SigUrg);
        _lookedAt = call;
    }
}
