using StreamingDaemon.Uring.Buffers;

namespace StreamingDaemon.Uring.Clients;

/// <summary>A client whose place is taken, and who is to be served.</summary>
/// <param name="Fd">Its socket.</param>
/// <param name="Peer">Who handed it over.</param>
/// <param name="Admission">How it comes in.</param>
/// <param name="StreamBytes">What its stream holds of the memory budget, its request not counted.</param>
/// <param name="AcceptedTimestamp">When its handoff was accepted, Stopwatch ticks.</param>
internal readonly record struct ReceivedClient(
    int Fd, HandoffPeer Peer, HandoffAdmission Admission, int StreamBytes, long AcceptedTimestamp)
{
    /// <summary>The handoff data, in a buffer of the loop that serves it.</summary>
    public NativeBuffer Data { get; init; }
}
