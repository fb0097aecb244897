namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>Whether the store can be used: the value of <c>answers_redis</c> in /health, in lower case.
/// </summary>
internal enum SharedHealth
{
    Ok,

    /// <summary>It answers, and refuses a command that answers need. What it has may still be read.</summary>
    Refuses,

    /// <summary>It does not answer.</summary>
    Unavailable,
}

/// <summary>What came of asking for an answer's name.</summary>
internal enum SharedClaim
{
    /// <summary>The answer is this daemon's, to make.</summary>
    Claimed,

    /// <summary>Another daemon makes it, or it is finished.</summary>
    Taken,

    /// <summary>It grew too long to be kept.</summary>
    Gone,

    /// <summary>The store does not answer.</summary>
    Unavailable,
}

/// <summary>What came of looking for another daemon's answer.</summary>
internal enum FollowResult
{
    Found,

    /// <summary>There is none.</summary>
    None,

    /// <summary>The store does not answer, or refuses: nobody knows whether there is one.</summary>
    Unavailable,

    /// <summary>This daemon has no room for it: <c>answers.max_bytes</c> is reached.</summary>
    NoRoom,
}

/// <summary>What came of stopping another daemon's answer.</summary>
internal enum SharedStop
{
    /// <summary>It was running, and its daemon is told: it has not ended yet.</summary>
    Told,

    /// <summary>It has ended because it was stopped, now or before.</summary>
    Stopped,

    /// <summary>It has ended by itself.</summary>
    Ended,

    /// <summary>There is none.</summary>
    None,

    /// <summary>The store does not answer, or refuses: it may run on.</summary>
    Unavailable,
}

/// <summary>Answers that any daemon on the same store can read, join and stop. Thread-safe; no call fails.
/// </summary>
internal interface ISharedAnswers
{
    SharedHealth Health { get; }

    /// <summary>Why the store cannot be used; null if it can.</summary>
    string? Problem { get; }

    /// <summary>Waits for the first answer of the store, at the start.</summary>
    Task ReadyAsync(TimeSpan patience);

    /// <summary>Asks for the name of a new answer.</summary>
    /// <param name="key">The name.</param>
    /// <param name="owner">Names this claim; unique.</param>
    Task<SharedClaim> ClaimAsync(AnswerKey key, string owner);

    /// <summary>Gives a claimed name back, unused.</summary>
    Task ReleaseAsync(AnswerKey key, string owner);

    /// <summary>Writes the answer to the store from now on, until its end.</summary>
    void Mirror(KeptAnswer answer, string owner);

    /// <summary>The answer as another daemon writes it.</summary>
    /// <returns>The answer, if it was found.</returns>
    Task<(FollowResult Result, KeptAnswer? Answer)> FollowAsync(AnswerKey key);

    /// <summary>Stops an answer of another daemon, and waits a moment for its end: it may have been its own.
    /// </summary>
    Task<SharedStop> StopAsync(AnswerKey key);

    /// <summary>Ends what this daemon only follows: it stops.</summary>
    void EndFollowers();

    /// <summary>Completes when every end that was written here is in the store, or cannot be.</summary>
    Task IdleAsync();
}
