namespace StreamingDaemon.Backends;

/// <summary>Takes what a backend produces. Called from one thread at a time.</summary>
public interface IDeltaSink
{
    /// <summary>The upstream has accepted the request (for HTTP: its 200 head has arrived). It may still
    /// fail, or have nothing to show. Called at most once, before the first delta; does not
    /// block.</summary>
    void OnResponseStarted();

    /// <summary>An attempt failed and another begins. Only before <see cref="OnResponseStarted"/>; does not
    /// block.</summary>
    /// <param name="fault">Why the attempt failed.</param>
    void OnRetry(UpstreamFault fault);

    /// <summary>The upstream sent something, even without text (a comment, an empty delta), so it is alive.
    /// Cheap; does not block.</summary>
    void OnUpstreamActivity();

    /// <summary>The upstream said that the answer is whole; the backend waits a moment for what may follow,
    /// and bounds that wait itself. Does not block.</summary>
    void OnAnswerWhole()
    {
    }

    /// <summary>
    /// Sends one non-empty delta. Completes when the stream can take more: awaiting it is the backpressure.
    /// The caller may reuse the delta's memory as soon as the call has returned, even if it has not
    /// completed.
    /// </summary>
    ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken);
}
