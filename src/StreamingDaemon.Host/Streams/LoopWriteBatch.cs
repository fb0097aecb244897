using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>Wakes the loops once for all events that a backend writes in one batch.</summary>
internal sealed class LoopWriteBatch : IWriteBatch
{
    public void BeginBatch() => WakeBatch.Begin();

    public void EndBatch() => WakeBatch.End();

    public void EndBatchLater() => WakeBatch.EndLater();
}
