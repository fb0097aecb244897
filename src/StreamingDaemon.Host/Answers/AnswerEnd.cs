using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Answers;

/// <summary>How an answer ended.</summary>
/// <param name="Result">How its call ended.</param>
/// <param name="Error">The error that its last event tells, or null.</param>
/// <param name="IsCut">The upstream ended early, and the format has no event for that.</param>
internal sealed record AnswerEnd(BackendResult Result, ErrorResponse? Error, bool IsCut);
