namespace StreamingDaemon.Host.Streams;

/// <summary>The one place that knows whether the daemon is stopping. Begins once; from any thread.</summary>
internal sealed class DrainSignal
{
    private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool IsDraining => _begun.Task.IsCompleted;

    /// <summary>Ends when the drain begins.</summary>
    public Task Begun => _begun.Task;

    /// <returns>False if it had begun before.</returns>
    public bool Begin() => _begun.TrySetResult();
}
