using System.Globalization;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.IoUringConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// Accepts as many of the module's connections as there is room for. The others wait in the kernel's accept
/// queue: nothing is lost there, and none holds a descriptor. Loop-owned.
/// </summary>
/// <param name="loop">The loop that accepts.</param>
/// <param name="listener">The socket to accept on.</param>
/// <param name="receiver">Gets each connection.</param>
internal sealed class Acceptor(LoopContext loop, HandoffListener listener, HandoffReceiver receiver)
{
    /// <summary>Single-connection accepts armed at once.</summary>
    private const int MostAccepts = 16;

    /// <summary>The old ring's accepts are cancelled later, and may take a wake-up with them.</summary>
    private const int AskAgainMs = 100;

    /// <summary>Pause before accepting is tried again, if descriptors wait to be closed.</summary>
    private const int ReleasesAgainMs = 10;

    private readonly int _backlog = EffectiveBacklog(loop.Options.Backlog);
    private readonly LoopAlarm _again = new();
    private readonly LoopAlarm _releasesAgain = new();
    private long _againMs = long.MaxValue;
    private int _armed;
    private bool _isMultishot;
    private bool _isCancelled;
    private bool _isWatched;
    private bool _awaitsReleases;
    private bool _draining;
    private bool _stopped;

    /// <summary>Once a turn, while there is a listener: accepts more, or fewer.</summary>
    public void Turn()
    {
        if (loop.NowMs >= _againMs)
        {
            _againMs = long.MaxValue;
            if (_armed > 0)
                CancelAll();
        }

        if (listener.IsPassed && !_isWatched)
        {
            _isWatched = true;
            loop.Operations.PollForEndOfListener(listener.Fd);
        }

        var room = receiver.Most - receiver.Count;
        if (_draining && _armed == 0)
            Finish();
        else if (_draining || (_isMultishot && (room < _backlog || _awaitsReleases)))
            CancelAll();
        else if (!_isMultishot && receiver.MayTakeMore && !AwaitsReleases())
            Arm(room);
    }

    private bool AwaitsReleases()
    {
        _awaitsReleases = receiver.AwaitsReleases;
        if (_awaitsReleases && !_releasesAgain.IsSet)
            loop.SetTimer(_releasesAgain, ReleasesAgainMs);
        return _awaitsReleases;
    }

    public void OnAccepted(in CompletionEntry completion)
    {
        if (completion.Result >= 0)
            Begin(completion.Result);
        if ((completion.Flags & CqeMore) != 0)
            return;
        _armed--;
        _isMultishot = false;
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: what ends frees some. The connection is still queued.
        if (completion.Result is < 0 and not (-Errno.ConnAborted or -Errno.Intr or -Errno.Canceled))
            receiver.BackOff();
    }

    /// <summary>Another holder of the listener has shut it down: no connection will ever come.</summary>
    public void OnListenerWatched(int result)
    {
        // An error: the next turn watches again.
        _isWatched = result > 0;
        if (_isWatched && !_draining)
            loop.Options.OnListenerLost?.Invoke();
    }

    /// <summary>Takes what is queued, then closes the listener.</summary>
    public void BeginDrain() => _draining = true;

    /// <summary>Refuses connections that still come.</summary>
    public void Stop() => _stopped = true;

    /// <summary>The ring is new: count what had completed in the old one; the next turn arms the other
    /// accepts.</summary>
    public void ArmAgain(List<CompletionEntry> completed)
    {
        _armed = 0;
        foreach (var completion in completed)
        {
            if (OperationId.KindOf(completion.UserData) == OperationKind.Accept
                && (completion.Flags & CqeMore) == 0)
            {
                _armed++;
            }
        }

        _isMultishot = _isCancelled = _isWatched = false;
        _againMs = loop.NowMs + AskAgainMs;
        loop.Timers.Set(_again, _againMs);
    }

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

    /// <summary>A multishot accept takes everything queued before it asks. If that exceeds the room, single
    /// accepts are armed instead, one per place.</summary>
    private void Arm(int room)
    {
        if (room < _backlog)
        {
            while (_armed < Math.Min(room + 1, MostAccepts))
                ArmOne(multishot: false);
        }
        else if (_armed == 0)
        {
            ArmOne(multishot: true);
        }
    }

    private void ArmOne(bool multishot)
    {
        loop.Operations.Accept(listener.Fd, multishot);
        _armed++;
        _isMultishot = multishot;
        _isCancelled = false;
    }

    private void CancelAll()
    {
        if (_isCancelled)
            return;
        _isCancelled = true;
        loop.Operations.CancelAccepts();
    }

    private void Begin(int fd)
    {
        _awaitsReleases |= receiver.AwaitsReleases;
        loop.Statistics.OnAccepted();
        loop.MarkBusy();
        if (listener.IsPassed)
            AncillaryData.Prepare(fd);
        if (loop.Options.UseStreamSocket)
            AncillaryData.KeepUrgentBytes(fd);
        if (!IsAllowed(fd))
            Refuse(fd, HandoffRejection.PeerNotAllowed);
        else if (_stopped)
            Refuse(fd, HandoffRejection.ServerStopped);
        else
            receiver.Begin(fd);
    }

    private void Refuse(int fd, HandoffRejection reason)
    {
        loop.Handlers.ReportRejection(reason, HandoffConnection.PeerOf(fd));
        loop.Releases.Add(fd, ReleaseKind.Connection);
    }

    /// <summary>May this peer hand over?</summary>
    private bool IsAllowed(int fd)
    {
        var options = loop.Options;
        if (options.AllowedUids.Count == 0 && options.AllowedGids.Count == 0)
            return true;
        var peer = HandoffConnection.PeerOf(fd);
        return options.AllowedUids.Contains(peer.UserId) || options.AllowedGids.Contains(peer.GroupId);
    }

    /// <summary>Takes the rest of the accept queue, then closes the listener.</summary>
    private void Finish()
    {
        while (!_stopped)
        {
            if (!receiver.MayTakeMore)
                return;
            var fd = listener.AcceptQueued();
            if (fd >= 0)
            {
                Begin(fd);
            }
            else if (fd == -Errno.Again)
            {
                break;
            }
            else if (fd is not (-Errno.Intr or -Errno.ConnAborted))
            {
                // No descriptor is left: streams that end free some, and queued connections are ours to
                // serve.
                receiver.BackOff();
                return;
            }
        }

        loop.Releases.Add(listener.TakeDescriptor(), ReleaseKind.Odd);
    }
}
