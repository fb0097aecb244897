using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring.Loop;

// Requests of other threads, and what they post.
internal sealed partial class EventLoop
{
    /// <summary>Stop accepting, serve what is queued, end when the last client has; a loop that does not
    /// accept is told so by the one that does. From any thread.</summary>
    public void RequestDrain() => _loop.Mailbox.Request(LoopRequests.Drain);

    /// <summary>Drain, and drop every client at once. From any thread.</summary>
    public void RequestStop() => _loop.Mailbox.Request(
        _listener is not null ? LoopRequests.Stop | LoopRequests.Drain : LoopRequests.Stop);

    /// <summary>Give free memory back. From any thread.</summary>
    public void RequestTrim()
    {
        _loop.Buffers.Trim();
        _loop.Mailbox.Request(LoopRequests.Trim);
    }

    private void ArmWake() => _loop.Operations.ReadWake(_loop.Mailbox.WakeEvent);

    private void OnWake(int result)
    {
        if (result < 0 && result is not (-Errno.Again or -Errno.Intr or -Errno.Canceled))
            throw new HandoffServerException($"eventfd: {LinuxNative.Describe(result)}", -result);
        ArmWake();
    }

    private void TakeMail()
    {
        for (var i = 0; i < StreamsPerTurn && _loop.Mailbox.TryTake(out var stream); i++)
            OnPosted(stream);
    }
}
