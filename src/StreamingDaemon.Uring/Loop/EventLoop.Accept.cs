using System.Diagnostics;
using System.Globalization;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.IoUringConstants;

namespace StreamingDaemon.Uring.Loop;

// Accept: how many handoffs are on their way at once. What is not accepted waits in the kernel's queue, where
// nothing is lost and no descriptor is held.
internal sealed unsafe partial class EventLoop
{
    /// <summary>Pause after a call failed for want of descriptors or memory.</summary>
    private const int AcceptBackoffMs = 100;

    /// <summary>Accepts of one connection each that are armed at once.</summary>
    private const int MostAccepts = 16;

    /// <summary>After so many times with room in our table, it is not the table.</summary>
    private const int MostTimesCut = 3;

    private readonly DescriptorBudget? _budget;
    private readonly LoopAlarm _backoff = new();

    /// <summary>Whole handoffs that wait for a client's place: those for refusals are in use too.</summary>
    private readonly Queue<HandoffConnection> _withoutPlace = new();

    /// <summary>Handoffs that could not be received for want of a descriptor or of memory, to be asked for
    /// again. One may have ended since: then its generation is another.</summary>
    private readonly Queue<(HandoffConnection Handoff, uint Generation)> _unreceived = new();

    /// <summary>One of them has been looked at, and its answer is on the way.</summary>
    private bool _isProbing;

    private readonly int _backlog;
    private int _acceptsArmed;
    private bool _acceptIsMultishot;
    private bool _acceptsCancelled;

    /// <summary>Connections that may be queued: listen(2) caps it at net.core.somaxconn, and the kernel
    /// queues one more.</summary>
    private static int EffectiveBacklog(int asked)
    {
        try
        {
            var text = File.ReadAllText("/proc/sys/net/core/somaxconn");
            return Math.Min(asked, int.Parse(text, CultureInfo.InvariantCulture)) + 1;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return asked + 1;
        }
    }

    /// <summary>Once a turn: serves who waits, and accepts as many more as there is room for.</summary>
    private void ContinueAccepting(HandoffListener listener)
    {
        ServeHeld();
        if (listener.Fd < 0)
            return;
        DropSilentBeyondTheCap();
        if (_loop.NowMs >= _acceptAgainMs)
        {
            _acceptAgainMs = long.MaxValue;
            if (_acceptsArmed > 0)
                CancelAccepts();
        }

        var room = MostHandoffs - _handoffCount;
        if (_draining && _acceptsArmed == 0)
            FinishAccepting(listener);
        else if (_draining || (_acceptIsMultishot && room < _backlog))
            CancelAccepts();
        else if (!_acceptIsMultishot && MayAccept())
            ArmAccepts(listener.Fd, room);
    }

    /// <summary>A multishot accept takes all that is queued before it asks. Where that is more than there is
    /// room for, there are as many that take one each.</summary>
    private void ArmAccepts(int listener, int room)
    {
        if (room < _backlog)
        {
            while (_acceptsArmed < Math.Min(room + 1, MostAccepts))
                ArmAccept(listener, multishot: false);
        }
        else if (_acceptsArmed == 0)
        {
            ArmAccept(listener, multishot: true);
        }
    }

    /// <summary>One more than the cap: only who comes shows that a silent one must go.</summary>
    private bool MayAccept() =>
        _handoffCount <= MostHandoffs && HeldCount == 0 && !_backoff.IsSet;

    private int MostHandoffs => Math.Min(_budget!.Handoffs, HandoffsInMemory);

    private int HeldCount => _withoutPlace.Count + _unreceived.Count;

    private void ArmAccept(int listener, bool multishot)
    {
        _loop.Operations.Accept(listener, multishot);
        _acceptsArmed++;
        _acceptIsMultishot = multishot;
        _acceptsCancelled = false;
    }

    private void OnAccept(in CompletionEntry completion)
    {
        if (completion.Result >= 0)
            StartHandoff(completion.Result);
        if ((completion.Flags & CqeMore) != 0)
            return;
        _acceptsArmed--;
        _acceptIsMultishot = false;
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: what ends gives some back. The connection is still queued.
        if (completion.Result is < 0 and not (-Errno.ConnAborted or -Errno.Intr or -Errno.Canceled))
            _loop.SetTimer(_backoff, AcceptBackoffMs);
    }

    private void StartHandoff(int fd)
    {
        _loop.Statistics.OnAccepted();
        _loop.MarkBusy();
        if (_listener!.IsPassed)
            AncillaryData.TurnOff(fd);
        if (!IsAllowed(fd))
        {
            NotifyRejected(HandoffRejection.PeerNotAllowed, fd);
            _loop.Releases.Add(fd, ReleaseKind.Connection);
            return;
        }

        if (_stopped)
        {
            NotifyRejected(HandoffRejection.ServerStopped, fd);
            _loop.Releases.Add(fd, ReleaseKind.Connection);
            return;
        }

        var handoff = TakeHandoffSlot();
        handoff.Fd = fd;
        handoff.AcceptedTimestamp = Stopwatch.GetTimestamp();
        _handoffCount++;
        BeginReceive(handoff);
    }

    /// <summary>Takes what is left in the accept queue, then closes the listener.</summary>
    private void FinishAccepting(HandoffListener listener)
    {
        while (!_stopped)
        {
            if (!MayAccept())
                return;
            var fd = listener.AcceptQueued();
            if (fd >= 0)
            {
                StartHandoff(fd);
            }
            else if (fd == -Errno.Again)
            {
                break;
            }
            else if (fd is not (-Errno.Intr or -Errno.ConnAborted))
            {
                // No descriptor is left: streams that end give some back, and what is queued is ours to
                // serve.
                _loop.SetTimer(_backoff, AcceptBackoffMs);
                return;
            }
        }

        _loop.Releases.Add(listener.TakeDescriptor(), ReleaseKind.Odd);
    }

    /// <summary>Asks for the message. Its time runs from here on: until there is memory for it, it is we who
    /// keep the peer waiting.</summary>
    private void BeginReceive(HandoffConnection handoff)
    {
        if (!_handoffMemory.TryRent(out handoff.Memory))
        {
            ReceiveLater(handoff);
            return;
        }

        AwaitPeer(handoff);
        ArmReceive(handoff);
    }

    private void ReceiveLater(HandoffConnection handoff)
    {
        ExcusePeer(handoff);
        _loop.SetTimer(_backoff, AcceptBackoffMs);
        _unreceived.Enqueue((handoff, handoff.Generation));
    }

    /// <summary>The kernel cuts a descriptor off where our table is full, and where a security module
    /// (SELinux, AppArmor) denies us the socket, which no waiting mends. A place that is free again tells
    /// them apart, but it may have become so just now.</summary>
    private static bool MayHaveRoomLater(HandoffConnection handoff) =>
        ++handoff.TimesCut < MostTimesCut || FileNative.IsTableFull(handoff.Fd);

    /// <summary>Another loop has given a place back since <see cref="ServeHeld"/> found none.</summary>
    private bool MayServeHeld() => _withoutPlace.Count > 0 && _loop.Places.HasRoom;

    private void ServeHeld()
    {
        ServeAwaitingLargerMemory();
        while (_withoutPlace.Count > 0 && _loop.Places.TryTake(out var admission))
        {
            var handoff = _withoutPlace.Dequeue();
            _loop.Places.Waiting = _withoutPlace.Count;
            StartClientOf(handoff, admission);
        }

        // One at a time: each copies its message anew, and the first shows whether there is a place again.
        while (!_backoff.IsSet && !_isProbing && _unreceived.TryDequeue(out var waiting))
        {
            if (waiting.Handoff.Generation != waiting.Generation)
                continue;
            if (waiting.Handoff.Memory.Pointer is null)
            {
                BeginReceive(waiting.Handoff);
                continue;
            }

            waiting.Handoff.IsProbe = _isProbing = true;
            ArmReceive(waiting.Handoff);
        }
    }

    /// <summary>May this peer hand over?</summary>
    private bool IsAllowed(int fd)
    {
        if (_loop.Options.AllowedUids.Count == 0 && _loop.Options.AllowedGids.Count == 0)
            return true;
        var peer = PeerOf(fd);
        return _loop.Options.AllowedUids.Contains(peer.UserId)
            || _loop.Options.AllowedGids.Contains(peer.GroupId);
    }

    private static HandoffPeer PeerOf(int fd) => LinuxNative.GetPeerCredentials(fd, out var peer) == 0
        ? new HandoffPeer(peer.UserId, peer.GroupId, peer.ProcessId)
        : new HandoffPeer(-1, -1, 0);

    private void CancelAccepts()
    {
        if (_acceptsCancelled)
            return;
        _acceptsCancelled = true;
        _loop.Operations.CancelAccepts();
    }
}
