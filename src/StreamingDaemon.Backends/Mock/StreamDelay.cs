using System.Threading.Tasks.Sources;

namespace StreamingDaemon.Backends.Mock;

/// <summary>
/// One stream's pauses on a <see cref="DelayWheel"/>: made once a stream, awaited many times, one at a time.
/// It is its own node, awaitable and work item, so that a pause allocates nothing.
/// </summary>
internal sealed class StreamDelay : IValueTaskSource, IThreadPoolWorkItem, IDisposable
{
    private readonly DelayWheel _wheel;
    private readonly CancellationToken _cancellationToken;
    private readonly CancellationTokenRegistration _registration;
    private ManualResetValueTaskSourceCore<bool> _source;

    internal StreamDelay(DelayWheel wheel, CancellationToken cancellationToken)
    {
        _wheel = wheel;
        _cancellationToken = cancellationToken;
        _registration = cancellationToken.UnsafeRegister(
            static state => ((StreamDelay)state!).OnCancelled(), this);
    }

    // The four below belong to the wheel and are touched under its lock only, except Next in the private
    // list of those that expired together.
    internal StreamDelay? Next { get; set; }

    internal StreamDelay? Previous { get; set; }

    internal long DueTick { get; set; }

    internal bool IsLinked { get; set; }

    /// <summary>Set once and never taken back; then nothing is linked any more.</summary>
    internal bool Cancelled { get; set; }

    /// <summary>Completes after at least <paramref name="milliseconds"/>; at once where they are
    /// 0.</summary>
    /// <exception cref="OperationCanceledException">The stream's token fired, before or
    /// meanwhile.</exception>
    public ValueTask WaitAsync(int milliseconds)
    {
        if (_cancellationToken.IsCancellationRequested) return ValueTask.FromCanceled(_cancellationToken);
        if (milliseconds <= 0) return ValueTask.CompletedTask;

        _source.Reset();
        return _wheel.TryAdd(this, milliseconds)
            ? new ValueTask(this, _source.Version)
            : ValueTask.FromException(new OperationCanceledException(_cancellationToken));
    }

    public void Dispose() => _registration.Dispose();

    void IThreadPoolWorkItem.Execute()
    {
        // Already on the thread pool, so the stream goes on right here.
        if (Cancelled) _source.SetException(new OperationCanceledException(_cancellationToken));
        else _source.SetResult(true);
    }

    void IValueTaskSource.GetResult(short token) => _source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _source.GetStatus(token);

    void IValueTaskSource.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _source.OnCompleted(continuation, state, token, flags);

    private void OnCancelled() => _wheel.Cancel(this);
}
