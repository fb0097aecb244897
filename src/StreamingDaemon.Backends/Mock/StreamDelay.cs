using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;

namespace StreamingDaemon.Backends.Mock;

/// <summary>
/// One stream's pauses on a <see cref="DelayWheel"/>: made once a stream, awaited many times, one at a time.
/// It is its own node, awaitable and work item, so that a pause allocates nothing.
/// </summary>
internal sealed class StreamDelay : IValueTaskSource, IThreadPoolWorkItem, IDisposable
{
    /// <summary>A pause up to this length, milliseconds, is not cut short. The token is checked at its end,
    /// so a stream of short pauses needs no registration, which is two objects.</summary>
    private const int Short = 100;

    private readonly DelayWheel _wheel;
    private readonly CancellationToken _cancellationToken;

    // An object: few streams have one, and the struct would take sixteen bytes in every stream.
    private StrongBox<CancellationTokenRegistration>? _registration;
    private ManualResetValueTaskSourceCore<bool> _source;

    internal StreamDelay(DelayWheel wheel, CancellationToken cancellationToken)
    {
        _wheel = wheel;
        _cancellationToken = cancellationToken;
    }

    // The wheel owns the four below and touches them only under its lock. Exception: Next in the private list
    // of delays that expired together; the first in that list is the work item for all.
    internal StreamDelay? Next { get; set; }

    internal StreamDelay? Previous { get; set; }

    /// <summary>When the pause is due, or the last one was; 0 before the first.</summary>
    internal long DueTick { get; set; }

    internal bool IsLinked { get; set; }

    /// <summary>Set once and never reset; after that nothing is linked.</summary>
    internal bool Cancelled { get; set; }

    /// <summary>Completes after <paramref name="milliseconds"/>, as <see cref="PauseSchedule"/> counts them;
    /// at once if that is 0.</summary>
    /// <exception cref="OperationCanceledException">The stream's token fired, before the pause or during
    /// it.</exception>
    public ValueTask WaitAsync(int milliseconds)
    {
        if (_cancellationToken.IsCancellationRequested)
            return ValueTask.FromCanceled(_cancellationToken);
        if (milliseconds <= 0)
            return ValueTask.CompletedTask;
        if (milliseconds > Short && _registration is null)
        {
            _registration = new StrongBox<CancellationTokenRegistration>(_cancellationToken.UnsafeRegister(
                static state => ((StreamDelay)state!).OnCancelled(), this));
        }

        _source.Reset();
        return _wheel.TryAdd(this, milliseconds)
            ? new ValueTask(this, _source.Version)
            : ValueTask.FromException(new OperationCanceledException(_cancellationToken));
    }

    public void Dispose() => _registration?.Value.Dispose();

    void IThreadPoolWorkItem.Execute()
    {
        var batch = _wheel.Batch;
        batch?.BeginBatch();
        try
        {
            for (var delay = this; delay is not null;)
            {
                // Read first: once its stream goes on, right here, it may link its delay again.
                var next = delay.Next;
                delay.Next = null;
                delay.End();
                delay = next;
            }
        }
        finally
        {
            batch?.EndBatch();
        }
    }

    private void End()
    {
        if (Cancelled || _cancellationToken.IsCancellationRequested)
            _source.SetException(new OperationCanceledException(_cancellationToken));
        else
            _source.SetResult(true);
    }

    void IValueTaskSource.GetResult(short token) => _source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _source.GetStatus(token);

    void IValueTaskSource.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _source.OnCompleted(continuation, state, token, flags);

    private void OnCancelled() => _wheel.Cancel(this);
}
