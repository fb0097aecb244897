namespace StreamingDaemon.Uring;

/// <summary>Who connected to hand over, as it was then (unix(7), SO_PEERCRED).</summary>
/// <param name="UserId">Effective, -1 where the kernel does not say.</param>
/// <param name="GroupId">Effective, -1 where the kernel does not say.</param>
/// <param name="ProcessId">0 where it is in a namespace of processes that ours does not see.</param>
public readonly record struct HandoffPeer(int UserId, int GroupId, int ProcessId);
