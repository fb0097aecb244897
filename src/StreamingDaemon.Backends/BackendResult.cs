using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends;

/// <summary>Why a backend's stream ended. One of Completed, UpstreamError, UpstreamTimeout,
/// UpstreamTruncated.</summary>
/// <param name="Outcome">The end.</param>
/// <param name="Reason">For the log and for operators, in the backend's own words: never text of the
/// upstream's, which quotes prompts and keys, but for the short names that it gives to its errors. Never
/// shown to the client.</param>
/// <param name="UpstreamStatus">The upstream's HTTP status, where there was one.</param>
public sealed record BackendResult(
    StreamOutcome Outcome, string? Reason = null, int? UpstreamStatus = null)
{
    /// <summary>A whole answer.</summary>
    public static BackendResult Completed { get; } = new(StreamOutcome.Completed);

    /// <summary>What was wrong with the upstream; null where nothing was.</summary>
    public UpstreamFault? Fault { get; init; }

    /// <summary>When the upstream wants to be asked again, counted from its answer; null where it did not
    /// say.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>The upstream refused, failed, or sent something that cannot be read.</summary>
    public static BackendResult Failed(UpstreamFault fault, string reason, int? upstreamStatus = null) =>
        new(StreamOutcome.UpstreamError, reason, upstreamStatus) { Fault = fault };
}
