using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Loop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>A descriptor to close.</summary>
/// <param name="Fd">The number, the releaser's from now on.</param>
/// <param name="HasUnreadMessage">A message was looked at and is still in its queue.</param>
internal readonly record struct Release(int Fd, bool HasUnreadMessage = false);

/// <summary>
/// Closes what came from outside, off the loop: the last close of a socket with SO_LINGER waits for its
/// reader, that of a large file for its pages, and closing a connection closes every descriptor in its unread
/// messages.
/// </summary>
internal sealed class DescriptorReleaser : ReplaceableThread<Release>
{
    /// <summary>Closes that may hang at a time, each on a thread of its own.</summary>
    private const int MostHung = 64;

    /// <summary>What ends within it is closed together: one wake-up of the thread for many.</summary>
    private const int GatherMs = 2;

    /// <summary>Nothing else in this process uses it, and the system ignores it by default.</summary>
    private const int SigUrg = 23;

    private readonly byte[] _nothing = GC.AllocateUninitializedArray<byte>(1, pinned: true);

    /// <param name="name">Of the thread.</param>
    /// <param name="options">What the server was told.</param>
    /// <exception cref="HandoffServerException">The system gives no further thread.</exception>
    public DescriptorReleaser(string name, HandoffServerOptions options)
        : base(name, MostHung, options) => _ = LinuxNative.SetSignalHandler(SigUrg, HarmlessFunction());

    /// <summary>What the signal calls: it must be safe in a signal handler, which no managed code is.
    /// abs(3) takes an int, as a handler does, and only computes.</summary>
    private static nint HarmlessFunction() => System.Runtime.InteropServices.NativeLibrary.GetExport(
        System.Runtime.InteropServices.NativeLibrary.GetMainProgramHandle(), "abs");

    protected override void Gather() => Thread.Sleep(GatherMs);

    protected override unsafe void Process(Release item, Worker worker)
    {
        worker.BeginCall();
        if (item.HasUnreadMessage)
        {
            // A peer that waits for the end of its connection would read ECONNRESET instead: unix(7) resets
            // what is closed with unread data.
            fixed (byte* nothing = _nothing)
                _ = LinuxNative.Recv(item.Fd, nothing, 0, MsgDontWait);
        }

        _ = LinuxNative.Close(item.Fd);
        worker.EndCall();
    }

    /// <summary>A signal ends the wait of a lingering close; the kernel sends the rest behind it
    /// (sk_stream_wait_close, tcp_close).</summary>
    protected override void OnHung(Worker worker) => _ = LinuxNative.SignalThread(worker.ThreadId, SigUrg);
}
