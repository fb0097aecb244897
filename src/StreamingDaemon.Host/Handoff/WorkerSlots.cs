using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// <c>--thread-pool</c>: at most <c>pool_size</c> LLM calls run at once, later ones wait in order of arrival.
/// Without the option nobody waits.
/// </summary>
internal sealed class WorkerSlots(DaemonOptions options) : IDisposable
{
    private readonly SemaphoreSlim? _slots =
        options.ThreadPool.Enabled ? new SemaphoreSlim(options.ThreadPool.PoolSize) : null;

    /// <summary>Waits for a slot; disposing what is returned frees it.</summary>
    /// <exception cref="OperationCanceledException">The stream ended while it was queued.</exception>
    public async ValueTask<Slot> EnterAsync(CancellationToken cancellationToken)
    {
        if (_slots is not null)
            await _slots.WaitAsync(cancellationToken).ConfigureAwait(false);
        return new Slot(_slots);
    }

    public void Dispose() => _slots?.Dispose();

    internal readonly struct Slot(SemaphoreSlim? slots) : IDisposable
    {
        public void Dispose() => slots?.Release();
    }
}
