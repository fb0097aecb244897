using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Host.Formats;

/// <summary>The error that a client gets if its stream does not end with [DONE].</summary>
/// <param name="Status">The HTTP status, used if no head was sent yet.</param>
/// <param name="Message">For the client: plain ASCII; it reveals nothing about the upstream.</param>
/// <param name="RetryAfterSeconds">Seconds until a retry makes sense, or null.</param>
internal sealed record ErrorResponse(int Status, string Message, int? RetryAfterSeconds = null)
{
    /// <summary>The longest Retry-After passed on to a client, in seconds. An upstream's quota may last for
    /// a day, but the operator can set another key or upstream sooner.</summary>
    private const int MaxRetryAfterSeconds = 300;

    /// <summary>Retry-After if the upstream sent none, in seconds.</summary>
    private const int DefaultRetryAfterSeconds = 5;

    public static readonly ErrorResponse MalformedHandoff =
        new(400, "The handoff data is not a JSON object.");

    public static readonly ErrorResponse NoPrompt =
        new(400, "The handoff data has no prompt and no messages.");

    /// <summary>In PHP, nearly always a failed json_encode().</summary>
    public static readonly ErrorResponse EmptyHandoff =
        new(400, "The handoff is empty: the application set no X-Handoff-Data.");

    public static readonly ErrorResponse HandoffTooLarge = new(413, "The handoff data is too large.");
    public static readonly ErrorResponse OverCapacity = new(503, "The server is at its limit of streams.", 5);

    public static readonly ErrorResponse OverMemory =
        new(503, "The server is at its limit of memory.", DefaultRetryAfterSeconds);

    /// <summary>The user is at its limit, and may have room again in <paramref name="retryAfterSeconds"/>.
    /// </summary>
    public static ErrorResponse RateLimited(int retryAfterSeconds) =>
        new(429, "Too many requests: please wait a moment.", retryAfterSeconds);

    private static readonly ErrorResponse s_unreachable =
        new(502, "The language model could not be reached.");
    private static readonly ErrorResponse s_refused = new(502, "The language model refused the request.");
    private static readonly ErrorResponse s_brokenOff =
        new(502, "The answer of the language model broke off.");
    private static readonly ErrorResponse s_upstreamFailed = new(502, "The language model failed.");
    private static readonly ErrorResponse s_upstreamTimeout =
        new(504, "The language model did not answer in time.");
    private static readonly ErrorResponse s_streamTimeout =
        new(504, "The answer took longer than is allowed.");
    private static readonly ErrorResponse s_drained = new(503, "The server is restarting.", 5);
    private static readonly ErrorResponse s_internalError = new(500, "The server failed.");

    /// <summary>The error to send for a backend's result, or null if the client gets none.</summary>
    public static ErrorResponse? For(BackendResult result) => result.Outcome switch
    {
        StreamOutcome.UpstreamError when result.Fault == UpstreamFault.RateLimited => Busy(result.RetryAfter),
        StreamOutcome.UpstreamError => ForFault(result.Fault),
        StreamOutcome.UpstreamTimeout => s_upstreamTimeout,
        StreamOutcome.StreamTimeout => s_streamTimeout,
        StreamOutcome.Drained => s_drained,
        StreamOutcome.OverMemory => OverMemory,
        StreamOutcome.InternalError => s_internalError,
        _ => null,
    };

    private static ErrorResponse ForFault(UpstreamFault? fault) => fault switch
    {
        UpstreamFault.Dns or UpstreamFault.Connect or UpstreamFault.ConnectTimeout or UpstreamFault.Tls
            or UpstreamFault.Protocol or UpstreamFault.Reset => s_unreachable,
        UpstreamFault.Unauthorized or UpstreamFault.ClientError or UpstreamFault.Redirect
            or UpstreamFault.NotAStream => s_refused,
        UpstreamFault.BrokenOff or UpstreamFault.Malformed or UpstreamFault.TooLong => s_brokenOff,
        _ => s_upstreamFailed,
    };

    /// <summary>503, not 429: the daemon's key is over its limit, not this client.</summary>
    private static ErrorResponse Busy(TimeSpan? retryAfter)
    {
        var seconds = retryAfter is { } wait ? Math.Ceiling(wait.TotalSeconds) : DefaultRetryAfterSeconds;
        return new ErrorResponse(503, "The language model is at its limit of requests.",
            (int)Math.Clamp(seconds, 1, MaxRetryAfterSeconds));
    }
}
