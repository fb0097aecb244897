namespace StreamingDaemon.Host.Streams;

/// <summary>The one place that knows whether the daemon is stopping. The drain begins once. Thread-safe.
/// </summary>
internal sealed class DrainSignal
{
    private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool IsDraining => _begun.Task.IsCompleted;

    /// <summary>Completes when the drain begins.</summary>
    public Task Begun => _begun.Task;

    /// <summary>Begins the drain.</summary>
    /// <returns>False if it had already begun.</returns>
    public bool Begin() => _begun.TrySetResult();
}
