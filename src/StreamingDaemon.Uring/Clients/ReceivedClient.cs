using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Uring.Clients;

/// <summary>A client to serve, whose place is taken.</summary>
/// <param name="Fd">Its socket.</param>
/// <param name="Peer">The process that handed it over.</param>
/// <param name="Admission">How it comes in.</param>
/// <param name="StreamBytes">Bytes of the memory budget that its stream holds, without its request.</param>
/// <param name="AcceptedTimestamp">When its handoff was accepted, Stopwatch ticks.</param>
internal readonly record struct ReceivedClient(
    int Fd, HandoffPeer Peer, HandoffAdmission Admission, int StreamBytes, long AcceptedTimestamp)
{
    /// <summary>Is it a Unix socket?</summary>
    public bool IsUnix { get; init; }

    /// <summary>The handoff data, in a buffer of the loop that serves it.</summary>
    public NativeBuffer Data { get; init; }

    /// <summary>Where the handoff data is, if it came in a descriptor, which is closed by whoever ends
    /// this.</summary>
    public SealedMemory? Memory { get; init; }

    /// <summary>Why the handoff data cannot be read; null if it can.</summary>
    public string? DataProblem { get; init; }

    /// <summary>Length of the handoff data.</summary>
    public int HandoffBytes => Memory?.Length ?? Data.Length;
}
