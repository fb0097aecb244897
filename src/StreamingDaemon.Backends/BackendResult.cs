using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends;

/// <summary>Why a backend's stream ended. One of Completed, UpstreamError, UpstreamTimeout,
/// UpstreamTruncated.</summary>
/// <param name="Outcome">The end.</param>
/// <param name="Reason">For the log and for operators, in the backend's own words. It never holds the
/// upstream's text, which quotes prompts and keys, except the short names of its errors. Never shown to the
/// client.</param>
/// <param name="UpstreamStatus">The upstream's HTTP status, if it sent one.</param>
public sealed record BackendResult(
    StreamOutcome Outcome, string? Reason = null, int? UpstreamStatus = null)
{
    /// <summary>A whole answer.</summary>
    public static BackendResult Completed { get; } = new(StreamOutcome.Completed);

    /// <summary>A whole answer that the upstream ended with <c>stop</c>, as nearly all are.</summary>
    internal static BackendResult Stopped { get; } = Completed with { FinishReason = "stop" };

    /// <summary>What was wrong with the upstream; null if nothing was.</summary>
    public UpstreamFault? Fault { get; init; }

    /// <summary>How long the upstream asks to wait before a retry, counted from its answer; null if it did
    /// not say.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>Whether the upstream says that a retry may help (x-should-retry, or an error that no retry
    /// can change); null if it did not say.</summary>
    public bool? ShouldRetry { get; init; }

    /// <summary>The connection died unnoticed while the request waited on it; a new one may do.</summary>
    internal bool IsConnectionDead { get; init; }

    /// <summary>The upstream says, under a status of success, that it does not have the model.</summary>
    internal bool LacksModel { get; init; }

    /// <summary>Why the upstream says that the answer ended (<c>stop</c>, <c>length</c> …): its own word, for
    /// the log; null if it did not say.</summary>
    public string? FinishReason { get; init; }

    /// <summary>The upstream refused, failed, or sent something unreadable.</summary>
    public static BackendResult Failed(UpstreamFault fault, string reason, int? upstreamStatus = null) =>
        new(StreamOutcome.UpstreamError, reason, upstreamStatus) { Fault = fault };
}
