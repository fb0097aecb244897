using System.Diagnostics;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Loop;

// Receiving one handoff: a client's descriptor and its data.
internal sealed unsafe partial class EventLoop
{
    private readonly List<HandoffConnection> _handoffs = [];
    private readonly Stack<int> _freeHandoffs = new();
    private int _handoffCount;

    private HandoffConnection TakeHandoffSlot()
    {
        if (_freeHandoffs.TryPop(out var index))
            return _handoffs[index];
        var handoff = new HandoffConnection(_handoffs.Count);
        _handoffs.Add(handoff);
        return handoff;
    }

    private void ArmReceive(HandoffConnection handoff)
    {
        var room = handoff.Memory.Capacity - handoff.Received;
        if (room == 0)
        {
            AwaitLargerMemory(handoff);
            return;
        }

        var header = handoff.Memory.Prepare(
            handoff.Received, room, takesDescriptor: handoff.ClientFd < 0);
        _loop.Operations.ReceiveMessage(handoff.Fd, header, waits: !handoff.IsExpired && !handoff.IsProbe,
            handoff.Generation, handoff.Index);
        handoff.IsReceiving = true;
    }

    private void OnHandoffReceived(HandoffConnection handoff, int result)
    {
        handoff.IsReceiving = false;
        if (handoff.IsProbe)
            handoff.IsProbe = _isProbing = false;
        if (result >= 0)
        {
            handoff.HasUnreadMessage = true;
            TakeDescriptor(handoff);
            // A message that is looked at once more has its first descriptor cut off: that is here already.
            handoff.HasSurplus |= handoff.ClientFd >= 0 && handoff.Memory.IsCut
                && (handoff.Memory.HasDescriptor || _loop.Options.UseStreamSocket);
        }

        if (handoff.IsClosing)
        {
            FreeHandoff(handoff);
            return;
        }

        if (result < 0)
        {
            OnReceiveFailed(handoff, result);
            return;
        }

        var isCutOff = handoff.ClientFd < 0 && handoff.Memory.IsCut;
        if (isCutOff && MayHaveRoomLater(handoff))
        {
            ReceiveLater(handoff);
            return;
        }

        handoff.DescriptorsTruncated |= isCutOff;
        if (NeedsLargerMemory(handoff))
        {
            AwaitLargerMemory(handoff);
            return;
        }

        if (result == 0 && handoff.RefusesMore && !isCutOff
            && (_loop.Options.UseStreamSocket || handoff.ClientFd < 0))
        {
            // Our own end of it, and not the peer's: what there was has been taken.
            RejectHandoff(handoff, HandoffRejection.TimedOut);
            return;
        }

        if (_loop.Options.UseStreamSocket && result > 0)
            result = ReadOn(handoff, result);
        handoff.Boundary.Feed(new ReadOnlySpan<byte>(handoff.Memory.Data + handoff.Received, result));
        handoff.Received += result;
        handoff.IsTruncated |= (handoff.Memory.ReceivedFlags & MsgTrunc) != 0
            || handoff.Received > _loop.Options.MaxHandoffBytes;

        var whole = !_loop.Options.UseStreamSocket || result == 0 || handoff.IsTruncated
            || handoff.Boundary.IsComplete;
        if (whole)
        {
            FinishHandoff(handoff);
            return;
        }

        ReceiveOn(handoff);
    }

    /// <summary>Takes from a stream what was looked at, if no surplus descriptor came with it.</summary>
    /// <returns>The bytes of the look.</returns>
    private static int ReadOn(HandoffConnection handoff, int length)
    {
        if (handoff.OnlyLooks)
            return length;
        if (handoff.Memory.IsCut)
        {
            // Taking it here would release them here. The next look begins behind it (socket(7)).
            handoff.OnlyLooks = LinuxNative.SetSockOpt(handoff.Fd, SolSocket, SoPeekOff, length) == 0;
            return length;
        }

        handoff.HasUnreadMessage = false;
        var taken = LinuxNative.Recv(
            handoff.Fd, handoff.Memory.Data + handoff.Received, length, MsgDontWait);
        Debug.Assert(taken == length, "somebody else reads this stream");
        return Math.Max(0, taken);
    }

    /// <summary>Keeps the first descriptor of a handoff.</summary>
    private void TakeDescriptor(HandoffConnection handoff)
    {
        var fd = handoff.Memory.TakeDescriptor(out var isClient);
        if (isClient && !handoff.IsClosing)
            handoff.ClientFd = fd;
        else if (fd >= 0)
            _loop.Releases.Add(fd, ReleaseKind.Odd);
    }

    private void FinishHandoff(HandoffConnection handoff)
    {
        if (handoff.ClientFd < 0)
        {
            RejectHandoff(handoff, handoff.DescriptorsTruncated ? HandoffRejection.DescriptorsTruncated
                : handoff.Received == 0 ? HandoffRejection.PeerClosed
                : HandoffRejection.NoDescriptor);
        }
        else if (!ClientSocket.IsKnownKind(handoff.ClientFd))
        {
            RejectHandoff(handoff, HandoffRejection.NotAStreamSocket);
        }
        else if (_withoutPlace.Count == 0 && _loop.Places.TryTake(out var admission))
        {
            StartClientOf(handoff, admission);
        }
        else
        {
            ExcusePeer(handoff);
            _withoutPlace.Enqueue(handoff);
            _loop.Places.Waiting = _withoutPlace.Count;
        }
    }

    private void StartClientOf(HandoffConnection handoff, HandoffAdmission admission)
    {
        Debug.Assert(handoff.ClientFd >= 0, "a handoff that has ended was served");
        var length = Math.Min(handoff.Received, _loop.Options.MaxHandoffBytes);
        var loop = LeastLoaded();
        if (admission == HandoffAdmission.Admitted && handoff.IsTruncated)
            admission = HandoffAdmission.TooLarge;
        admission = AdmitToMemory(admission, ref length, out var streamBytes);
        var data = loop._loop.Buffers.Rent(length);
        data.Append(new ReadOnlySpan<byte>(handoff.Memory.Data, length));
        var client = new ReceivedClient(handoff.ClientFd, PeerOf(handoff.Fd), data, admission, streamBytes,
            handoff.AcceptedTimestamp);
        Interlocked.Increment(ref loop._load);
        if (loop == this)
        {
            StartClient(client);
        }
        else if (!loop.TryPass(client))
        {
            // It has failed, and so has the server.
            loop.GiveBack(client);
            RejectHandoff(handoff, HandoffRejection.ServerStopped);
            return;
        }

        handoff.ClientFd = -1;
        EndHandoff(handoff);
    }

    private void RejectHandoff(HandoffConnection handoff, HandoffRejection reason)
    {
        NotifyRejected(reason, handoff.Fd);
        EndHandoff(handoff);
    }

    private void NotifyRejected(HandoffRejection reason, int fd) =>
        _loop.Handlers.ReportRejection(reason, PeerOf(fd));

    private void EndHandoff(HandoffConnection handoff)
    {
        Debug.Assert(!handoff.IsClosing, "a handoff ended twice");
        handoff.IsClosing = true;
        // Its deadline must not end it again while its receive is being cancelled.
        TimerWheel.Clear(handoff);
        _silent.Remove(handoff);
        if (handoff.IsReceiving)
            _loop.Operations.Cancel(OperationKind.HandoffReceive, handoff.Generation, handoff.Index);
        else
            FreeHandoff(handoff);
    }

    private void FreeHandoff(HandoffConnection handoff)
    {
        Debug.Assert(!handoff.IsReceiving, "the kernel still points into this slot's memory");
        _loop.Timers.Remove(handoff);
        // What is in its message may be what waits, if that brought more than one descriptor, or a wrong one.
        var isOdd = handoff.ClientFd >= 0 || handoff.HasSurplus || handoff.DescriptorsTruncated;
        if (handoff.ClientFd >= 0)
            _loop.Releases.Add(handoff.ClientFd, ReleaseKind.Odd);
        _loop.Releases.Add(handoff.Fd, isOdd ? ReleaseKind.OddConnection
            : handoff.HasUnreadMessage ? ReleaseKind.ConnectionWithMessage : ReleaseKind.Connection);
        _handoffMemory.Return(ref handoff.Memory, handoff.Received);
        handoff.Fd = handoff.ClientFd = -1;
        handoff.Received = handoff.TimesCut = 0;
        handoff.IsClosing = handoff.IsTruncated = handoff.DescriptorsTruncated = false;
        handoff.HasSurplus = handoff.HasUnreadMessage = handoff.OnlyLooks = false;
        handoff.IsExpired = handoff.RefusesMore = false;
        if (handoff.IsProbe)
            handoff.IsProbe = _isProbing = false;
        handoff.Boundary = default;
        handoff.Generation++;
        _handoffCount--;
        _freeHandoffs.Push(handoff.Index);
    }
}
