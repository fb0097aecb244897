namespace StreamingDaemon.Uring;

/// <summary>The process that connected to hand over, as it was then (unix(7), SO_PEERCRED).</summary>
/// <param name="UserId">Effective; -1 if the kernel does not say.</param>
/// <param name="GroupId">Effective; -1 if the kernel does not say.</param>
/// <param name="ProcessId">0 if it is in a process namespace that ours does not see.</param>
public readonly record struct HandoffPeer(int UserId, int GroupId, int ProcessId);
