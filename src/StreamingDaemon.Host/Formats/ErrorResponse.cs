using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Host.Formats;

/// <summary>What a client is told when its stream does not end with [DONE], as the outcome has it.</summary>
/// <param name="Status">The HTTP status, if no head was sent yet.</param>
/// <param name="Message">For the client: plain ASCII, says nothing of what is behind the daemon.</param>
/// <param name="RetryAfterSeconds">When trying again makes sense, or null.</param>
internal sealed record ErrorResponse(int Status, string Message, int? RetryAfterSeconds = null)
{
    /// <summary>Longest Retry-After that is passed on, seconds: an upstream's quota may last for a day, but
    /// another key, or another upstream, is set up sooner.</summary>
    private const int MaxRetryAfterSeconds = 300;

    /// <summary>What is said if the upstream does not say, seconds.</summary>
    private const int DefaultRetryAfterSeconds = 5;

    public static readonly ErrorResponse MalformedHandoff =
        new(400, "The handoff data is not a JSON object.");

    public static readonly ErrorResponse NoPrompt =
        new(400, "The handoff data has no prompt and no messages.");

    public static readonly ErrorResponse HandoffTooLarge = new(413, "The handoff data is too large.");
    public static readonly ErrorResponse OverCapacity = new(503, "The server is at its limit of streams.", 5);

    public static readonly ErrorResponse OverMemory =
        new(503, "The server is at its limit of memory.", DefaultRetryAfterSeconds);

    /// <summary>A user's own limit; <paramref name="retryAfterSeconds"/> from now it may have
    /// room.</summary>
    public static ErrorResponse RateLimited(int retryAfterSeconds) =>
        new(429, "Too many requests: please wait a moment.", retryAfterSeconds);

    private static readonly ErrorResponse Unreachable = new(502, "The language model could not be reached.");
    private static readonly ErrorResponse Refused = new(502, "The language model refused the request.");
    private static readonly ErrorResponse BrokenOff = new(502, "The answer of the language model broke off.");
    private static readonly ErrorResponse UpstreamFailed = new(502, "The language model failed.");
    private static readonly ErrorResponse UpstreamTimeout =
        new(504, "The language model did not answer in time.");
    private static readonly ErrorResponse StreamTimeout = new(504, "The answer took longer than is allowed.");
    private static readonly ErrorResponse Drained = new(503, "The server is restarting.", 5);
    private static readonly ErrorResponse InternalError = new(500, "The server failed.");

    /// <summary>The end that the client is told of, or null if there is nothing to tell.</summary>
    public static ErrorResponse? For(BackendResult result) => result.Outcome switch
    {
        StreamOutcome.UpstreamError when result.Fault == UpstreamFault.RateLimited => Busy(result.RetryAfter),
        StreamOutcome.UpstreamError => ForFault(result.Fault),
        StreamOutcome.UpstreamTimeout => UpstreamTimeout,
        StreamOutcome.StreamTimeout => StreamTimeout,
        StreamOutcome.Drained => Drained,
        StreamOutcome.OverMemory => OverMemory,
        StreamOutcome.InternalError => InternalError,
        _ => null,
    };

    private static ErrorResponse ForFault(UpstreamFault? fault) => fault switch
    {
        UpstreamFault.Dns or UpstreamFault.Connect or UpstreamFault.ConnectTimeout or UpstreamFault.Tls
            or UpstreamFault.Protocol or UpstreamFault.Reset => Unreachable,
        UpstreamFault.Unauthorized or UpstreamFault.ClientError or UpstreamFault.Redirect
            or UpstreamFault.NotAStream => Refused,
        UpstreamFault.BrokenOff or UpstreamFault.Malformed or UpstreamFault.TooLong => BrokenOff,
        _ => UpstreamFailed,
    };

    /// <summary>Not 429: it is the daemon's key that is limited, and nothing that this client did.</summary>
    private static ErrorResponse Busy(TimeSpan? retryAfter)
    {
        var seconds = retryAfter is { } wait ? Math.Ceiling(wait.TotalSeconds) : DefaultRetryAfterSeconds;
        return new ErrorResponse(503, "The language model is at its limit of requests.",
            (int)Math.Clamp(seconds, 1, MaxRetryAfterSeconds));
    }
}
