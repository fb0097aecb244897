using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

// A message is here: its client is admitted, and given to a loop.
internal sealed unsafe partial class HandoffReceiver
{
    /// <summary>Data is read within a few milliseconds.</summary>
    private const int DataAgainMs = 5;

    private readonly LoopAlarm _dataAgain = new();

    /// <summary>Handoffs whose data is in a descriptor, while all places for those are taken. One may have
    /// ended since: then its generation differs.</summary>
    private readonly Queue<(HandoffConnection Handoff, uint Generation)> _awaitingData = new();

    private void Finish(HandoffConnection handoff)
    {
        if (handoff.ClientFd < 0)
        {
            Reject(handoff, handoff.IsCutOff ? HandoffRejection.DescriptorsTruncated
                : handoff.Received == 0 ? HandoffRejection.PeerClosed
                : HandoffRejection.NoDescriptor);
            return;
        }

        if (!ClientSocket.IsKnownKind(handoff.ClientFd, out var isUnix))
        {
            Reject(handoff, HandoffRejection.NotAStreamSocket);
            return;
        }

        handoff.IsUnixClient = isUnix;
        if (_withoutPlace.Count == 0 && _loop.Places.TryTake(out var admission))
            Serve(handoff, admission);
        else
            AwaitPlace(handoff);
    }

    private void Serve(HandoffConnection handoff, HandoffAdmission admission)
    {
        Debug.Assert(handoff.ClientFd >= 0, "a handoff that has ended was served");
        var message = new ReadOnlySpan<byte>(
            handoff.Memory.Data, Math.Min(handoff.Received, _longestMessage));
        var isElsewhere = DataDescriptor.IsNamedBy(message);
        long length = message.Length;
        var problem = isElsewhere ? FindData(handoff, message, out length) : null;
        if (admission == HandoffAdmission.Admitted
            && (handoff.IsTooLong || length > _loop.Options.MaxHandoffBytes))
        {
            admission = HandoffAdmission.TooLarge;
        }

        admission = AdmitToMemory(admission, ref length, out var streamBytes);
        // Data elsewhere is read only for a client that is served.
        var memory = isElsewhere && problem is null && admission == HandoffAdmission.Admitted
            ? new SealedMemory(handoff.DataFd, (int)length)
            : (SealedMemory?)null;
        var client = new ReceivedClient(handoff.ClientFd, HandoffConnection.PeerOf(handoff.Fd), admission,
            streamBytes, handoff.AcceptedTimestamp)
        {
            IsUnix = handoff.IsUnixClient,
            Memory = memory,
            DataProblem = problem,
        };
        if (!_balancer.TryServe(client, isElsewhere ? [] : message[..(int)length]))
        {
            Reject(handoff, HandoffRejection.ServerStopped);
            return;
        }

        handoff.GiveClientAway();
        if (memory is not null)
            handoff.GiveDataAway();
        End(handoff);
    }

    /// <summary>Finds the data that is not in the message, and tells the peer that this daemon knows such
    /// handoffs.</summary>
    /// <param name="handoff">Its message names data elsewhere.</param>
    /// <param name="message">The message.</param>
    /// <param name="length">Of the data; 0 if there is none.</param>
    /// <returns>Null if it can be read, else why not.</returns>
    private static string? FindData(HandoffConnection handoff, ReadOnlySpan<byte> message, out long length)
    {
        if (!DataDescriptor.TryReadLength(message, out length))
            return DataDescriptor.BadLine;
        fixed (byte* acknowledgement = DataDescriptor.Acknowledgement)
        {
            _ = LinuxNative.Send(handoff.Fd, acknowledgement, DataDescriptor.Acknowledgement.Length,
                MsgDontWait | MsgNoSignal);
        }

        var problem = handoff.DataFd < 0 ? DataDescriptor.NoDescriptor
            : handoff.HasTooManyDescriptors ? DataDescriptor.SeveralDescriptors
            : null;
        if (problem is not null)
            length = 0;
        return problem;
    }

    /// <summary>The message names data elsewhere, whose descriptor had no room: asks for it with
    /// room.</summary>
    /// <returns>False if that was in vain, and the table is not full: a security module denies it.</returns>
    private bool IsAskedForData(HandoffConnection handoff)
    {
        if (handoff.WantsData)
        {
            if (!handoff.MayHaveRoomLater())
                return false;
            AskLater(handoff);
        }
        else if (_loop.Data.TryHold())
        {
            handoff.AskForData();
            LookOn(handoff);
        }
        else
        {
            ExcusePeer(handoff);
            _awaitingData.Enqueue((handoff, handoff.Generation));
            _loop.SetTimer(_dataAgain, DataAgainMs);
        }

        return true;
    }

    private void ServeAwaitingData()
    {
        while (_awaitingData.TryPeek(out var next))
        {
            var isStill = next.Handoff.Generation == next.Generation && next.Handoff.IsOpen;
            if (isStill && !_loop.Data.TryHold())
            {
                if (!_dataAgain.IsSet)
                    _loop.SetTimer(_dataAgain, DataAgainMs);
                return;
            }

            _awaitingData.Dequeue();
            if (!isStill)
                continue;
            next.Handoff.AskForData();
            LookOn(next.Handoff);
        }
    }

    /// <summary>Asks the memory budget, once per handoff, when its length is known and nothing of it was
    /// copied. Until then a handoff is bytes in a receive area, which have their own bound.</summary>
    /// <param name="admission">As the places of clients have it.</param>
    /// <param name="length">Of the handoff data; 0 for a refused client if there is no memory to read
    /// it.</param>
    /// <param name="streamBytes">What the stream holds of the budget, its request not counted.</param>
    /// <returns>How the client comes in.</returns>
    private HandoffAdmission AdmitToMemory(HandoffAdmission admission, ref long length, out int streamBytes)
    {
        streamBytes = 0;
        var memory = _loop.Options.Memory;
        if (admission == HandoffAdmission.Admitted)
        {
            if (memory.TryAdmit((int)length, out streamBytes))
                return admission;
            admission = HandoffAdmission.OverMemory;
        }

        // A 503 needs no memory to speak of. With the request id and the headers of the application it is of
        // more use, but only while there is room for its handoff.
        if (length > _longestMessage || !memory.MayReadRefused((int)length))
            length = 0;
        return admission;
    }
}
