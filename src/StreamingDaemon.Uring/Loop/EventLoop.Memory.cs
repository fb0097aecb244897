using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Loop;

// The budget of memory: asked once for each handoff, when its length is known and nothing of it was copied.
// Until then a handoff is bytes in a receive area, and those are bounded on their own.
internal sealed partial class EventLoop
{
    /// <summary>Handoffs on their way may take this part of the budget beside it, for small areas and for
    /// large ones each.</summary>
    private const int ReceiveShare = 16;

    /// <summary>Messages that are longer than a small area, while the large ones are in use. One may have
    /// ended since: then its generation is another.</summary>
    private readonly Queue<(HandoffConnection Handoff, uint Generation)> _awaitingLarger = new();

    private readonly LoopAlarm _largerAgain = new();

    private static HandoffMemoryPool NewHandoffMemory(HandoffServerOptions options) =>
        new(options.MaxHandoffBytes, options.MayMapHandoffs, HandoffMemoryPool.LargeWithin(
            options.Memory.Limit / ReceiveShare, options.MaxHandoffBytes));

    private int HandoffsInMemory =>
        (int)Math.Clamp(
            _loop.Options.Memory.Limit / ReceiveShare / HandoffMemoryPool.SmallBytes, 64, int.MaxValue);

    /// <summary>Was a message looked at that is longer than its area, but perhaps not too long? Of a stream
    /// the rest is asked for when its area is full.</summary>
    private bool NeedsLargerMemory(HandoffConnection handoff) => !_loop.Options.UseStreamSocket
        && (handoff.Memory.ReceivedFlags & MsgTrunc) != 0 && !_handoffMemory.IsLarge(handoff.Memory);

    private void AwaitLargerMemory(HandoffConnection handoff)
    {
        if (_handoffMemory.TryEnlarge(ref handoff.Memory, handoff.Received))
        {
            ReceiveOn(handoff);
            return;
        }

        // It has sent, and it is we who keep it waiting.
        ExcusePeer(handoff);
        _awaitingLarger.Enqueue((handoff, handoff.Generation));
        _loop.SetTimer(_largerAgain, AcceptBackoffMs);
    }

    private void ServeAwaitingLargerMemory()
    {
        while (_awaitingLarger.TryPeek(out var next))
        {
            var isStill = next.Handoff.Generation == next.Generation && !next.Handoff.IsClosing;
            if (isStill && !_handoffMemory.TryEnlarge(ref next.Handoff.Memory, next.Handoff.Received))
            {
                // The system may give some without anything else happening here.
                if (!_largerAgain.IsSet)
                    _loop.SetTimer(_largerAgain, AcceptBackoffMs);
                return;
            }

            _awaitingLarger.Dequeue();
            if (isStill)
                ReceiveOn(next.Handoff);
        }
    }

    /// <param name="admission">As the places of clients have it.</param>
    /// <param name="length">Of the handoff data; 0 for a refused client if there is no memory to read
    /// it.</param>
    /// <param name="streamBytes">What the stream holds of the budget, its request not counted.</param>
    /// <returns>How the client comes in.</returns>
    private HandoffAdmission AdmitToMemory(HandoffAdmission admission, ref int length, out int streamBytes)
    {
        streamBytes = 0;
        var memory = _loop.Options.Memory;
        if (admission == HandoffAdmission.Admitted)
        {
            if (memory.TryAdmit(length, out streamBytes))
                return admission;
            admission = HandoffAdmission.OverMemory;
        }

        // A 503 needs no memory to speak of. With the request id and the headers of the application it is of
        // more use, but only while there is room for its handoff.
        if (!memory.MayReadRefused(length))
            length = 0;
        return admission;
    }
}
