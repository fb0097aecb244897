using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Answers;

/// <summary>How an answer ended.</summary>
/// <param name="Result">How its call ended.</param>
/// <param name="Error">The error that its last event tells, or null.</param>
/// <param name="IsLogged">False if the end is no event of the answer, and each reader is told the error
/// apart: the daemon that made the answer died, and nobody knows its last event.</param>
internal sealed record AnswerEnd(BackendResult Result, ErrorResponse? Error, bool IsLogged = true);
