using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// Receives handoffs, each a client's descriptor and its data, and gives their clients to the loops.
/// <c>HandoffReceiver.Waiting.cs</c> holds the waits, <c>HandoffReceiver.Serving.cs</c> what becomes of a
/// whole message. Loop-owned.
/// </summary>
internal sealed unsafe partial class HandoffReceiver : IDisposable
{
    /// <summary>Handoffs on their way may take this part of the memory budget beside it, for small areas and
    /// for large ones each.</summary>
    private const int ReceiveShare = 16;

    private readonly LoopContext _loop;
    private readonly LoopBalancer _balancer;
    private readonly DescriptorBudget _budget;
    private readonly HandoffMemoryPool _memory;
    private readonly int _longestMessage;
    private readonly List<HandoffConnection> _slots = [];
    private readonly Stack<int> _free = new();

    public HandoffReceiver(LoopContext loop, LoopBalancer balancer, DescriptorBudget budget)
    {
        (_loop, _balancer, _budget) = (loop, balancer, budget);
        var options = loop.Options;
        _longestMessage = Math.Min(options.MaxHandoffBytes, HandoffServerOptions.LongestMessage);
        _memory = new HandoffMemoryPool(_longestMessage, options.MayMapHandoffs,
            HandoffMemoryPool.LargeWithin(options.Memory.Limit / ReceiveShare, _longestMessage));
    }

    /// <summary>Handoffs on their way.</summary>
    public int Count { get; private set; }

    /// <summary>Their cap: what the limits of descriptors and memory allow.</summary>
    public int Most => Math.Min(_budget.Handoffs, (int)Math.Clamp(
        _loop.Options.Memory.Limit / ReceiveShare / HandoffMemoryPool.SmallBytes, 64, int.MaxValue));

    /// <summary>One more than the cap: only a new peer shows that a silent one must go.</summary>
    public bool MayTakeMore => Count <= Most && HeldCount == 0 && !_backoff.IsSet;

    /// <summary>Do so many descriptors wait to be closed that nothing may be accepted? They have left their
    /// places, and a full table would stop the metrics port too.</summary>
    public bool AwaitsReleases => _loop.Releases.Waiting >= _budget.Releases;

    public HandoffConnection this[int slot] => _slots[slot];

    /// <summary>Asks for the message of a connection. Its time runs from here on, except if there is no
    /// memory: then we keep the peer waiting.</summary>
    public void Begin(int fd)
    {
        var handoff = TakeSlot();
        handoff.Open(fd);
        Count++;
        BeginLooks(handoff);
    }

    public void OnReceived(HandoffConnection handoff, int result)
    {
        handoff.OnLooked();
        EndProbe(handoff);
        var isStream = _loop.Options.UseStreamSocket;
        if (result >= 0)
            handoff.TakeDescriptors(isStream, _loop.Releases);
        if (handoff.State == HandoffState.Closing)
        {
            Free(handoff);
            return;
        }

        if (result < 0)
        {
            OnLookFailed(handoff, result);
            return;
        }

        var isCutOff = handoff.LacksDescriptor;
        if (isCutOff && handoff.MayHaveRoomLater())
        {
            AskLater(handoff);
            return;
        }

        if (isCutOff)
            handoff.MarkCutOff();
        if (handoff.LacksData(result) && IsAskedForData(handoff))
            return;
        if (NeedsLargerMemory(handoff))
        {
            AwaitLargerMemory(handoff);
        }
        else if (result == 0 && handoff.State == HandoffState.Refusing && !isCutOff
                 && (isStream || handoff.ClientFd < 0))
        {
            // Our own end of it, and not the peer's: what there was has been taken.
            Reject(handoff, HandoffRejection.TimedOut);
        }
        else if (handoff.Append(result, _longestMessage, isStream))
        {
            Finish(handoff);
        }
        else
        {
            LookOn(handoff);
        }
    }

    /// <summary>Drops every handoff.</summary>
    public void Stop()
    {
        _withoutPlace.Clear();
        _loop.Places.Waiting = 0;
        _unreceived.Clear();
        foreach (var handoff in _slots)
        {
            if (handoff.IsOpen)
                Reject(handoff, HandoffRejection.ServerStopped);
        }
    }

    /// <summary>Repeats in a new ring the looks that the old one was asked for.</summary>
    public void ArmAgain(HashSet<ulong> ended)
    {
        foreach (var handoff in _slots)
        {
            if (!handoff.IsLooking || ended.Contains(
                OperationId.Pack(OperationKind.HandoffReceive, handoff.Generation, handoff.Index)))
            {
                continue;
            }

            handoff.OnLooked();
            if (handoff.State == HandoffState.Closing)
                Free(handoff);
            else
                Look(handoff);
        }
    }

    public void Trim() => _memory.Trim();

    /// <summary>The ring is gone: closes what handoffs hold.</summary>
    public void Abandon()
    {
        foreach (var handoff in _slots)
        {
            if (handoff.Fd >= 0)
                _loop.Releases.Add(handoff.Fd, ReleaseKind.Odd);
            ReleaseDescriptors(handoff);
        }
    }

    /// <summary>Returns the memory that the kernel wrote into.</summary>
    public void Dispose() => _memory.Dispose();

    private HandoffConnection TakeSlot()
    {
        if (_free.TryPop(out var index))
            return _slots[index];
        var handoff = new HandoffConnection(_slots.Count, this);
        _slots.Add(handoff);
        return handoff;
    }

    private void Look(HandoffConnection handoff)
    {
        if (handoff.Memory.Capacity == handoff.Received)
            AwaitLargerMemory(handoff);
        else
            handoff.Look(_loop.Operations);
    }

    private void Reject(HandoffConnection handoff, HandoffRejection reason)
    {
        _loop.Handlers.ReportRejection(reason, HandoffConnection.PeerOf(handoff.Fd));
        End(handoff);
    }

    private void End(HandoffConnection handoff)
    {
        handoff.MarkClosing();
        // Its deadline must not end it again while its look is being cancelled.
        ExcusePeer(handoff);
        if (handoff.IsLooking)
            CancelLook(handoff);
        else
            Free(handoff);
    }

    private void CancelLook(HandoffConnection handoff) => _loop.Operations.Cancel(
        OperationKind.HandoffReceive, handoff.Generation, handoff.Index);

    private void Free(HandoffConnection handoff)
    {
        _loop.Timers.Remove(handoff);
        var kind = handoff.ReleaseKind;
        ReleaseDescriptors(handoff);
        _loop.Releases.Add(handoff.Fd, kind);
        _memory.Return(ref handoff.Memory, handoff.Received);
        EndProbe(handoff);
        handoff.Reset();
        Count--;
        _free.Push(handoff.Index);
    }

    private void ReleaseDescriptors(HandoffConnection handoff)
    {
        if (handoff.ClientFd >= 0)
            _loop.Releases.Add(handoff.ClientFd, ReleaseKind.Odd);
        if (handoff.DataFd >= 0)
            _loop.Releases.Add(handoff.DataFd, ReleaseKind.Odd);
        if (handoff.WantsData)
            _loop.Data.GiveBack();
    }
}
