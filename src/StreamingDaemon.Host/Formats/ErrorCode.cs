using System.Text.Json;

namespace StreamingDaemon.Host.Formats;

/// <summary>Why a client got an error instead of the rest of its answer. The closed vocabulary of the error
/// itself, of the access log and of <c>streaming_daemon_errors_total</c>, where each is spelled in snake_case
/// (<see cref="ErrorCodes.Word"/>). Listed in docs/errors.md.</summary>
internal enum ErrorCode : byte
{
    /// <summary>The handoff data is not a JSON object.</summary>
    BadHandoff,

    /// <summary>The handoff asks nothing.</summary>
    NoPrompt,

    /// <summary>The handoff names a format that the daemon does not have.</summary>
    UnknownFormat,

    /// <summary>The handoff data is above the limit.</summary>
    HandoffTooLarge,

    /// <summary>The user began too many streams in its window.</summary>
    RateLimited,

    /// <summary>The user has too many streams at once.</summary>
    TooManyStreams,

    /// <summary>All connections are in use.</summary>
    OverCapacity,

    /// <summary>Streams hold all the memory they may.</summary>
    OverMemory,

    /// <summary>The daemon is stopping.</summary>
    ShuttingDown,

    /// <summary>The upstream cannot be reached, or was lost before it answered.</summary>
    UpstreamUnavailable,

    /// <summary>The upstream refused the request: the key, the model or a parameter is wrong.</summary>
    UpstreamRefused,

    /// <summary>The upstream has too many requests.</summary>
    UpstreamBusy,

    /// <summary>The upstream failed, and said so.</summary>
    UpstreamFailed,

    /// <summary>The answer broke off, or became unreadable.</summary>
    UpstreamBrokeOff,

    /// <summary>The upstream was silent for too long.</summary>
    UpstreamTimeout,

    /// <summary>The answer ended without anything to show.</summary>
    EmptyAnswer,

    /// <summary>The stream took longer than it may.</summary>
    StreamTimeout,

    /// <summary>A fault of the daemon.</summary>
    InternalError,

    /// <summary>No kept answer has this id, or it is another user's.</summary>
    AnswerNotFound,

    /// <summary>Nobody read the kept answer for too long.</summary>
    AnswerOrphaned,

    /// <summary>The store of kept answers does not answer.</summary>
    AnswersUnavailable,
}

/// <summary>The spelling of the codes.</summary>
internal static class ErrorCodes
{
    private static readonly string[] s_words =
        [.. Enum.GetNames<ErrorCode>().Select(JsonNamingPolicy.SnakeCaseLower.ConvertName)];

    /// <summary>Every code, in the order of the enum.</summary>
    public static IReadOnlyList<string> Words => s_words;

    /// <summary>As answers, log and metrics spell it: <c>rate_limited</c>.</summary>
    public static string Word(this ErrorCode code) => s_words[(int)code];
}
