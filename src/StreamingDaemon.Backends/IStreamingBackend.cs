namespace StreamingDaemon.Backends;

/// <summary>
/// Produces one answer. A backend knows nothing of sockets or of server-sent events: it takes a
/// <see cref="StreamRequest"/> and pushes text into an <see cref="IDeltaSink"/>.
/// </summary>
/// <remarks>
/// Life of a call: (1) <see cref="StreamAsync"/> starts, and may retry while the upstream fails to answer
/// (<see cref="IDeltaSink.OnRetry"/>); (2) the upstream accepts and the backend calls
/// <see cref="IDeltaSink.OnResponseStarted"/> once; after that it never retries; (3) deltas, one
/// <see cref="IDeltaSink.WriteAsync"/> at a time, each awaited, because that is the backpressure; (4) the
/// task ends with the reason. Implementations are singletons and safe for concurrent calls.
/// </remarks>
public interface IStreamingBackend
{
    /// <summary>The name by which configuration and the handoff's <c>backend</c> field choose it.</summary>
    string Name { get; }

    /// <summary>The model for requests that name none; empty if the backend has no models.</summary>
    string DefaultModel { get; }

    /// <summary>True if a request without <c>prompt</c> and <c>messages</c> is an error (400).</summary>
    bool RequiresPrompt { get; }

    /// <summary>True if it sends <see cref="StreamRequest.UnknownParameters"/> to its upstream.</summary>
    bool PassesUnknownParameters => false;

    /// <summary>True if <see cref="StreamAsync"/> neither blocks nor computes for long before its first wait.
    /// It then begins on the thread that reads handoffs, and no other thread is woken for it.</summary>
    bool BeginsAtOnce => false;

    /// <summary>Bytes of memory that a running stream takes, without its request and its pending output.
    /// Measured, for the worst case. It may change once the upstream's protocol is known.</summary>
    int BytesPerStream => 4 * 1024;

    /// <summary>A hint for the log if the upstream sends nothing at all; null if there is none.</summary>
    string? TimeoutHint => null;

    /// <summary>Takes the options that may change while it runs
    /// (<see cref="BackendOption.Reloadable"/>).</summary>
    /// <param name="options">The descriptor's record, valid, with the other options as before.</param>
    void Apply(object options)
    {
    }

    /// <summary>
    /// Streams one answer. Failures of the upstream are results, not exceptions;
    /// <see cref="OperationCanceledException"/> for <paramref name="cancellationToken"/> is passed on.
    /// </summary>
    /// <param name="request">What the application asked for.</param>
    /// <param name="sink">Where the deltas go. Not used after the task has ended.</param>
    /// <param name="cancellationToken">Fires as soon as the client leaves or the stream's time is
    /// over.</param>
    Task<BackendResult> StreamAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken);
}
