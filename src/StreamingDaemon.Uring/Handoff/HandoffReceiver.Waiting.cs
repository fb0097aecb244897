using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

// How long a peer may keep us waiting for its handoff, and what happens after that. A peer whose send
// succeeded has handed its client over: none of those may be dropped. Also here: handoffs that we keep
// waiting, for a client's place, a descriptor or memory.
internal sealed partial class HandoffReceiver
{
    /// <summary>Pause after a call failed because descriptors or memory were short.</summary>
    private const int BackoffMs = 100;

    /// <summary>A module sends right after it has connected. If every place is taken, a peer silent for this
    /// long gives way to a new one.</summary>
    private const int SilenceGraceMs = 100;

    private readonly LoopAlarm _backoff = new();
    private readonly LoopAlarm _graceEnds = new();
    private readonly LoopAlarm _largerAgain = new();

    /// <summary>Handoffs whose message is still to come.</summary>
    private readonly IdleHandoffList _silent = new();

    /// <summary>Complete handoffs that wait for a client's place: the places for refusals are in use
    /// too.</summary>
    private readonly Queue<HandoffConnection> _withoutPlace = new();

    /// <summary>Handoffs not received because a descriptor or memory was short; they are asked for again. One
    /// may have ended since: then its generation differs.</summary>
    private readonly Queue<(HandoffConnection Handoff, uint Generation)> _unreceived = new();

    /// <summary>Messages longer than a small area, while all large areas are in use. One may have ended
    /// since: then its generation differs.</summary>
    private readonly Queue<(HandoffConnection Handoff, uint Generation)> _awaitingLarger = new();

    /// <summary>One of the unreceived has been looked at, and its answer is on the way.</summary>
    private bool _isProbing;

    /// <summary>Another loop has given a place back since <see cref="ServeHeld"/> found none.</summary>
    public bool MayServeHeld => _withoutPlace.Count > 0 && _loop.Places.HasRoom;

    private int HeldCount => _withoutPlace.Count + _unreceived.Count;

    /// <summary>A call failed because descriptors or memory were short: take nothing more for a
    /// moment.</summary>
    public void BackOff() => _loop.SetTimer(_backoff, BackoffMs);

    /// <summary>Once a turn: continues the handoffs that we keep waiting.</summary>
    public void ServeHeld()
    {
        ServeAwaitingLargerMemory();
        ServeAwaitingData();
        while (_withoutPlace.Count > 0 && _loop.Places.TryTake(out var admission))
        {
            var handoff = _withoutPlace.Dequeue();
            _loop.Places.Waiting = _withoutPlace.Count;
            Serve(handoff, admission);
        }

        // One at a time: each look copies its message again, and the first shows whether there is a place.
        while (!_backoff.IsSet && !_isProbing && _unreceived.TryDequeue(out var waiting))
        {
            if (waiting.Handoff.Generation != waiting.Generation)
                continue;
            if (!waiting.Handoff.HasMemory)
            {
                BeginLooks(waiting.Handoff);
                continue;
            }

            waiting.Handoff.IsProbe = _isProbing = true;
            Look(waiting.Handoff);
        }
    }

    /// <summary>Once a turn, while there is a listener: the oldest of the silent give way to who
    /// comes.</summary>
    public void DropSilentBeyondTheCap()
    {
        while (_silent.Count + HeldCount > Most && _silent.Oldest is { } oldest)
        {
            var dueMs = oldest.AskedMs + Math.Min(SilenceGraceMs, _loop.Options.HandoffTimeoutMs);
            if (_loop.NowMs < dueMs)
            {
                _loop.Timers.Set(_graceEnds, dueMs);
                return;
            }

            Expire(oldest);
        }
    }

    /// <summary>A handoff's time is up. Its message may have come while this process stood still: it is
    /// dropped only if no message is there.</summary>
    public void Expire(HandoffConnection handoff)
    {
        handoff.MarkExpired();
        ExcusePeer(handoff);
        if (handoff.IsLooking)
            CancelLook(handoff);
        else
            Look(handoff);
    }

    /// <summary>Of a handoff without memory yet.</summary>
    private void BeginLooks(HandoffConnection handoff)
    {
        if (!_memory.TryRent(out handoff.Memory))
        {
            AskLater(handoff);
            return;
        }

        AwaitPeer(handoff);
        Look(handoff);
    }

    /// <summary>Asks for what is still to come. One that was excused has its time from now on.</summary>
    private void LookOn(HandoffConnection handoff)
    {
        if (!handoff.IsListed && handoff.State == HandoffState.Open)
            AwaitPeer(handoff);
        Look(handoff);
    }

    private void AwaitPeer(HandoffConnection handoff)
    {
        handoff.AskedMs = _loop.NowMs;
        _silent.Add(handoff);
        _loop.SetTimer(handoff, _loop.Options.HandoffTimeoutMs);
    }

    /// <summary>We do not wait for the peer here: no deadline runs, and it gives way to nobody.</summary>
    private void ExcusePeer(HandoffConnection handoff)
    {
        TimerWheel.Clear(handoff);
        _silent.Remove(handoff);
    }

    private void OnLookFailed(HandoffConnection handoff, int error)
    {
        switch (-error)
        {
            case Errno.Again when handoff.State == HandoffState.Refusing:
                Reject(handoff, HandoffRejection.TimedOut);
                break;
            case Errno.Again when handoff.State == HandoffState.Expired:
                handoff.RefuseMore();
                Look(handoff);
                break;
            case Errno.Again or Errno.Intr or Errno.Canceled:
                // Cancelled by us if its time was up: a message may have come and not been looked at.
                LookOn(handoff);
                break;
            case Errno.NoBufs or Errno.NoMem:
                AskLater(handoff);
                break;
            default:
                Reject(handoff, error == -Errno.ConnReset
                    ? HandoffRejection.PeerClosed
                    : HandoffRejection.ReceiveFailed);
                break;
        }
    }

    private void AwaitPlace(HandoffConnection handoff)
    {
        ExcusePeer(handoff);
        _withoutPlace.Enqueue(handoff);
        _loop.Places.Waiting = _withoutPlace.Count;
    }

    private void AskLater(HandoffConnection handoff)
    {
        ExcusePeer(handoff);
        BackOff();
        _unreceived.Enqueue((handoff, handoff.Generation));
    }

    private void EndProbe(HandoffConnection handoff)
    {
        if (handoff.IsProbe)
            handoff.IsProbe = _isProbing = false;
    }

    /// <summary>Was a message looked at that is longer than its area, but perhaps not too long? Of a stream
    /// the rest is asked for when its area is full.</summary>
    private bool NeedsLargerMemory(HandoffConnection handoff) => !_loop.Options.UseStreamSocket
        && (handoff.Memory.ReceivedFlags & MsgTrunc) != 0 && !_memory.IsLarge(handoff.Memory);

    private void AwaitLargerMemory(HandoffConnection handoff)
    {
        if (_memory.TryEnlarge(ref handoff.Memory, handoff.Received))
        {
            LookOn(handoff);
            return;
        }

        // It has sent, and we keep it waiting.
        ExcusePeer(handoff);
        _awaitingLarger.Enqueue((handoff, handoff.Generation));
        _loop.SetTimer(_largerAgain, BackoffMs);
    }

    private void ServeAwaitingLargerMemory()
    {
        while (_awaitingLarger.TryPeek(out var next))
        {
            var isStill = next.Handoff.Generation == next.Generation && next.Handoff.IsOpen;
            if (isStill && !_memory.TryEnlarge(ref next.Handoff.Memory, next.Handoff.Received))
            {
                // The system may give some without anything else happening here.
                if (!_largerAgain.IsSet)
                    _loop.SetTimer(_largerAgain, BackoffMs);
                return;
            }

            _awaitingLarger.Dequeue();
            if (isStill)
                LookOn(next.Handoff);
        }
    }
}
