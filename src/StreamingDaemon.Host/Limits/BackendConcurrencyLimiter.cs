using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Limits;

/// <summary>
/// <c>--thread-pool</c>: at most <c>pool_size</c> LLM calls run at once, later ones wait in order of arrival.
/// Without the option nobody waits.
/// </summary>
internal sealed class BackendConcurrencyLimiter(DaemonOptions options) : IDisposable
{
    private readonly SemaphoreSlim? _slots =
        options.ThreadPool.Enabled ? new SemaphoreSlim(options.ThreadPool.PoolSize) : null;

    /// <summary>Awaited by who was given a slot, before it is told: for tests.</summary>
    internal Func<Task>? Given { get; init; }

    /// <summary>Waits for a slot; disposing what is returned frees it, once. Null if nobody
    /// waits.</summary>
    /// <exception cref="OperationCanceledException">The stream ended while it was queued.</exception>
    public async ValueTask<IDisposable?> EnterAsync(CancellationToken cancellationToken)
    {
        if (_slots is null)
            return null;
        await _slots.WaitAsync(cancellationToken).ConfigureAwait(false);
        if (Given is { } given)
            await given().ConfigureAwait(false);
        return new Slot(_slots);
    }

    public void Dispose() => _slots?.Dispose();

    private sealed class Slot(SemaphoreSlim slots) : IDisposable
    {
        private SemaphoreSlim? _slots = slots;

        public void Dispose() => Interlocked.Exchange(ref _slots, null)?.Release();
    }
}
