using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Answers;

/// <summary>Names a kept answer. The user is part of the name: another user's answer is simply not there, and
/// two users may choose the same id.</summary>
/// <param name="User">The user of the handoff, perhaps none.</param>
/// <param name="Id">The request id of the handoff that began the answer.</param>
internal readonly record struct AnswerKey(UserId User, string Id);
