using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Handoff;

/// <summary>The sinks' events are taken on by the loops.</summary>
internal sealed class LoopWriteBursts : IWriteBursts
{
    public void BeginBurst() => WakeBurst.Begin();

    public void EndBurst() => WakeBurst.End();

    public void EndBurstLater() => WakeBurst.EndLater();
}
