using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>The sinks' events are taken on by the loops.</summary>
internal sealed class LoopWriteBatch : IWriteBatch
{
    public void BeginBatch() => WakeBatch.Begin();

    public void EndBatch() => WakeBatch.End();

    public void EndBatchLater() => WakeBatch.EndLater();
}
