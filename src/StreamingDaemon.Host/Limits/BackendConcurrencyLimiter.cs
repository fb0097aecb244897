using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Limits;

/// <summary>
/// <c>--thread-pool</c>: at most <c>pool_size</c> backend calls run at once; further calls wait in order of
/// arrival. Without the option no call waits.
/// </summary>
internal sealed class BackendConcurrencyLimiter(DaemonOptions options) : IDisposable
{
    private readonly SemaphoreSlim? _slots =
        options.ThreadPool.Enabled ? new SemaphoreSlim(options.ThreadPool.PoolSize) : null;

    /// <summary>For tests: awaited after a slot was taken and before it is returned to the caller.</summary>
    internal Func<Task>? Given { get; init; }

    /// <summary>False without <c>--thread-pool</c>: no call needs a slot.</summary>
    public bool IsLimited => _slots is not null;

    /// <summary>Waits for a slot.</summary>
    /// <returns>The slot; dispose it to free it. Null without <c>--thread-pool</c>.</returns>
    /// <exception cref="OperationCanceledException">The stream ended while it waited.</exception>
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
