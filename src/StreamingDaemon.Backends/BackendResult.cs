namespace StreamingDaemon.Backends;

/// <summary>Why a backend's stream ended. One of Completed, UpstreamError, UpstreamTimeout,
/// UpstreamTruncated.</summary>
/// <param name="Outcome">The end.</param>
/// <param name="Reason">For the log and for operators: never shown to the client, never with a key or a
/// prompt.</param>
/// <param name="UpstreamStatus">The upstream's HTTP status, where there was one.</param>
public readonly record struct BackendResult(
    StreamOutcome Outcome, string? Reason = null, int? UpstreamStatus = null)
{
    /// <summary>A whole answer.</summary>
    public static BackendResult Completed { get; } = new(StreamOutcome.Completed);

    /// <summary>The upstream refused, failed, or sent something that cannot be read.</summary>
    public static BackendResult Failed(string reason, int? upstreamStatus = null) =>
        new(StreamOutcome.UpstreamError, reason, upstreamStatus);
}
