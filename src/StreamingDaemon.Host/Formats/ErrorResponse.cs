using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Host.Formats;

/// <summary>The error that a client gets if its stream does not end with [DONE].</summary>
/// <param name="Code">For programs.</param>
/// <param name="Status">The HTTP status, used if no head was sent yet.</param>
/// <param name="Message">For people: plain ASCII without quotes; it reveals nothing about the
/// upstream.</param>
/// <param name="RetryAfterSeconds">Seconds until a retry makes sense, or null.</param>
internal sealed record ErrorResponse(
    ErrorCode Code, int Status, string Message, int? RetryAfterSeconds = null)
{
    /// <summary>Retry-After if the daemon itself is full or stopping, in seconds.</summary>
    private const int DefaultRetryAfterSeconds = 5;

    public static readonly ErrorResponse MalformedHandoff =
        new(ErrorCode.BadHandoff, 400, "The handoff data is not a JSON object.");

    public static readonly ErrorResponse NoPrompt =
        new(ErrorCode.NoPrompt, 400, "The handoff data has no prompt and no messages.");

    /// <summary>The handoff has a prompt or messages, but none that can be used.</summary>
    /// <param name="unusable">The fields that the daemon could not use.</param>
    public static ErrorResponse NoUsablePrompt(IEnumerable<string> unusable)
    {
        // Only these names are the daemon's own words: other fields may be named by the application.
        const int MostNamed = 3;
        var fields = unusable.Where(field => field == "prompt"
            || field.StartsWith("messages", StringComparison.Ordinal)).Take(MostNamed).ToArray();
        return fields.Length == 0
            ? NoPrompt
            : NoPrompt with
            {
                Message = $"The handoff data has no usable prompt. Unusable: {string.Join(", ", fields)}.",
            };
    }

    /// <summary>In PHP, nearly always a failed json_encode().</summary>
    public static readonly ErrorResponse EmptyHandoff =
        new(ErrorCode.NoPrompt, 400, "The handoff is empty: the application set no X-Handoff-Data.");

    public static readonly ErrorResponse UnknownFormat = new(ErrorCode.UnknownFormat, 400,
        $"The handoff data names an unknown format. The formats are {StreamFormats.Names}.");

    public static readonly ErrorResponse HandoffTooLarge =
        new(ErrorCode.HandoffTooLarge, 413, "The handoff data is too large.");

    public static readonly ErrorResponse OverCapacity =
        new(ErrorCode.OverCapacity, 503, "The server is at its limit of streams.", DefaultRetryAfterSeconds);

    public static readonly ErrorResponse OverMemory =
        new(ErrorCode.OverMemory, 503, "The server is at its limit of memory.", DefaultRetryAfterSeconds);

    /// <summary>The user has too many streams at once. Nobody knows when one of them ends, so there is no
    /// Retry-After.</summary>
    public static readonly ErrorResponse TooManyStreams = new(ErrorCode.TooManyStreams, 429,
        "Too many answers at once: please wait until one has ended.");

    public static readonly ErrorResponse BrokenOff =
        new(ErrorCode.UpstreamBrokeOff, 502, "The answer of the language model broke off.");

    /// <summary>An unknown answer, an expired one, or another user's: they are not told apart.</summary>
    public static readonly ErrorResponse AnswerNotFound =
        new(ErrorCode.AnswerNotFound, 404, "There is no such answer, or it is no longer kept.");

    /// <summary>The answer may be there when the store answers again.</summary>
    public static readonly ErrorResponse AnswersUnavailable =
        new(ErrorCode.AnswersUnavailable, 503, "Kept answers are unavailable for the moment.");

    private static readonly ErrorResponse s_orphaned = new(
        ErrorCode.AnswerOrphaned, 502, "Nobody read the answer for too long: it was ended.");

    private static readonly ErrorResponse s_unreachable =
        new(ErrorCode.UpstreamUnavailable, 502, "The language model could not be reached.");
    private static readonly ErrorResponse s_refused =
        new(ErrorCode.UpstreamRefused, 502, "The language model refused the request.");
    // 503, not 429: the daemon's key is over its limit, not this client.
    private static readonly ErrorResponse s_busy =
        new(ErrorCode.UpstreamBusy, 503, "The language model is at its limit of requests.");
    private static readonly ErrorResponse s_empty =
        new(ErrorCode.EmptyAnswer, 502, "The language model gave an empty answer.");
    private static readonly ErrorResponse s_upstreamFailed =
        new(ErrorCode.UpstreamFailed, 502, "The language model failed.");
    private static readonly ErrorResponse s_upstreamTimeout =
        new(ErrorCode.UpstreamTimeout, 504, "The language model did not answer in time.");
    private static readonly ErrorResponse s_streamTimeout =
        new(ErrorCode.StreamTimeout, 504, "The answer took longer than is allowed.");
    private static readonly ErrorResponse s_drained =
        new(ErrorCode.ShuttingDown, 503, "The server is restarting.", DefaultRetryAfterSeconds);
    private static readonly ErrorResponse s_internalError =
        new(ErrorCode.InternalError, 500, "The server failed.");

    /// <summary>The handoff data is in a descriptor, and cannot be read from it.</summary>
    public static ErrorResponse UnreadableHandoff(string problem) =>
        new(ErrorCode.BadHandoff, 400, $"The handoff data cannot be read: {problem}.");

    /// <summary>The user began too many streams in its window, and may begin one in
    /// <paramref name="retryAfterSeconds"/>.</summary>
    public static ErrorResponse RateLimited(int retryAfterSeconds) => new(
        ErrorCode.RateLimited, 429, "Too many requests: please wait a moment.", retryAfterSeconds);

    /// <summary>The error to send for a backend's result, or null if the client gets none.</summary>
    public static ErrorResponse? For(BackendResult result) => result.Outcome switch
    {
        StreamOutcome.UpstreamError => WithRetryAfter(ForFault(result.Fault), result.RetryAfter),
        StreamOutcome.UpstreamTimeout => s_upstreamTimeout,
        StreamOutcome.StreamTimeout => s_streamTimeout,
        StreamOutcome.Drained => s_drained,
        StreamOutcome.OverMemory => OverMemory,
        StreamOutcome.InternalError => s_internalError,
        StreamOutcome.Orphaned => s_orphaned,
        _ => null,
    };

    private static ErrorResponse ForFault(UpstreamFault? fault) => fault switch
    {
        UpstreamFault.Dns or UpstreamFault.Connect or UpstreamFault.ConnectTimeout or UpstreamFault.Tls
            or UpstreamFault.Protocol or UpstreamFault.Reset => s_unreachable,
        UpstreamFault.Unauthorized or UpstreamFault.ClientError or UpstreamFault.Redirect
            or UpstreamFault.NotAStream => s_refused,
        UpstreamFault.RateLimited => s_busy,
        UpstreamFault.BrokenOff or UpstreamFault.Malformed or UpstreamFault.TooLong => BrokenOff,
        UpstreamFault.EmptyAnswer => s_empty,
        _ => s_upstreamFailed,
    };

    /// <summary>Adds the upstream's Retry-After, if it sent one: only the upstream knows when a retry makes
    /// sense.</summary>
    private static ErrorResponse WithRetryAfter(ErrorResponse error, TimeSpan? retryAfter) =>
        retryAfter is { } wait
            ? error with { RetryAfterSeconds = Math.Max(1, (int)Math.Ceiling(wait.TotalSeconds)) }
            : error;
}
