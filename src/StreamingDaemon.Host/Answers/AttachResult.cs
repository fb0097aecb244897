namespace StreamingDaemon.Host.Answers;

/// <summary>What became of a reader that asked for an answer.</summary>
internal enum AttachResult
{
    Attached,

    /// <summary>It has all events of an answer that has ended.</summary>
    HasAll,

    /// <summary>The answer is not kept any more: its events are no longer all there.</summary>
    Gone,

    /// <summary>Another daemon makes it, and this one has no room for it.</summary>
    NoRoom,

    /// <summary>Another daemon may make it: the shared store does not say.</summary>
    Unavailable,
}
