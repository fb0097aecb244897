namespace StreamingDaemon.Backends;

/// <summary>
/// Produces one answer. A backend knows nothing of sockets or of server-sent events: it takes a
/// <see cref="StreamRequest"/> and pushes text into an <see cref="IDeltaSink"/>.
/// </summary>
/// <remarks>
/// Life of a call: (1) <see cref="StreamAsync"/> starts, and may ask more than once while the upstream
/// fails to answer (<see cref="IDeltaSink.OnRetry"/>); (2) the upstream accepts and the backend calls
/// <see cref="IDeltaSink.OnResponseStarted"/> once, after which nothing is ever asked again; (3) deltas, one
/// <see cref="IDeltaSink.WriteAsync"/> at a time, each awaited, because it is the backpressure;
/// (4) the task ends with the reason. Implementations are singletons and safe for concurrent calls.
/// </remarks>
public interface IStreamingBackend
{
    /// <summary>The name by which configuration and the handoff's <c>backend</c> field choose it.</summary>
    string Name { get; }

    /// <summary>The model used where a request names none; empty where models mean nothing.</summary>
    string DefaultModel { get; }

    /// <summary>True where a request without <c>prompt</c> and <c>messages</c> is an error (400).</summary>
    bool RequiresPrompt { get; }

    /// <summary>Bytes of memory that a stream takes while it runs, its request and its pending output not
    /// counted: measured, and the most of what may be. It may change with what the upstream turns out to
    /// speak.</summary>
    int BytesPerStream => 4 * 1024;

    /// <summary>What to try where the upstream says nothing at all, for the log; null where there is
    /// nothing.</summary>
    string? TimeoutHint => null;

    /// <summary>
    /// Streams one answer. Failures of the upstream are results, not exceptions;
    /// <see cref="OperationCanceledException"/> for <paramref name="cancellationToken"/> is passed on.
    /// </summary>
    /// <param name="request">What the application asked for.</param>
    /// <param name="sink">Where the deltas go. Not used after the task has ended.</param>
    /// <param name="cancellationToken">Fires the moment the client left, or the stream's time is
    /// over.</param>
    Task<BackendResult> StreamAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken);
}
