using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Loop;

// How long a peer may keep us waiting for its handoff, and what is done when that is over: whoever was told
// that its message is sent has handed its client over, and none of those may be dropped.
internal sealed unsafe partial class EventLoop
{
    /// <summary>A module sends right after it has connected. Where every place is taken, who has been silent
    /// for this long gives way to who comes.</summary>
    private const int SilenceGraceMs = 100;

    private readonly LoopAlarm _graceEnds = new();

    /// <summary>Handoffs whose message is still to come.</summary>
    private readonly IdleHandoffList _silent = new();

    private void AwaitPeer(HandoffConnection handoff)
    {
        handoff.AskedMs = _loop.NowMs;
        _silent.Add(handoff);
        _loop.SetTimer(handoff, _loop.Options.HandoffTimeoutMs);
    }

    /// <summary>It is not the peer who is waited for: no deadline runs, and it gives way to nobody.</summary>
    private void ExcusePeer(HandoffConnection handoff)
    {
        TimerWheel.Clear(handoff);
        _silent.Remove(handoff);
    }

    /// <summary>Asks for what is still to come. One that was excused has its time from now on.</summary>
    private void ReceiveOn(HandoffConnection handoff)
    {
        if (!handoff.IsListed && !handoff.IsExpired)
            AwaitPeer(handoff);
        ArmReceive(handoff);
    }

    private void DropSilentBeyondTheCap()
    {
        while (_silent.Count + HeldCount > MostHandoffs && _silent.Oldest is { } oldest)
        {
            var dueMs = oldest.AskedMs + Math.Min(SilenceGraceMs, _loop.Options.HandoffTimeoutMs);
            if (_loop.NowMs < dueMs)
            {
                _loop.Timers.Set(_graceEnds, dueMs);
                return;
            }

            ExpireHandoff(oldest);
        }
    }

    /// <summary>The time of a handoff is up. While this process stood still its message may have come: it is
    /// dropped only where none is there.</summary>
    private void ExpireHandoff(HandoffConnection handoff)
    {
        handoff.IsExpired = true;
        ExcusePeer(handoff);
        if (handoff.IsReceiving)
            _loop.Operations.Cancel(OperationKind.HandoffReceive, handoff.Generation, handoff.Index);
        else
            ArmReceive(handoff);
    }

    private void OnReceiveFailed(HandoffConnection handoff, int error)
    {
        switch (-error)
        {
            case Errno.Again when handoff.RefusesMore:
                RejectHandoff(handoff, HandoffRejection.TimedOut);
                break;
            case Errno.Again when handoff.IsExpired:
                // Nothing is there, but between this look and the close it may come, and the module would
                // take it for received. unix(7) does not say it, but once this returns the kernel refuses
                // every send with EPIPE (unix_stream_sendmsg, unix_dgram_sendmsg), upon which a module still
                // has its client and answers it; what came before is found by one more look.
                _ = LinuxNative.Shutdown(handoff.Fd, ShutRd);
                handoff.RefusesMore = true;
                ArmReceive(handoff);
                break;
            case Errno.Again or Errno.Intr or Errno.Canceled:
                // Cancelled by us where its time was up: a message may have come and not been looked at.
                ReceiveOn(handoff);
                break;
            case Errno.NoBufs or Errno.NoMem:
                ReceiveLater(handoff);
                break;
            default:
                RejectHandoff(handoff, error == -Errno.ConnReset
                    ? HandoffRejection.PeerClosed
                    : HandoffRejection.ReceiveFailed);
                break;
        }
    }
}
