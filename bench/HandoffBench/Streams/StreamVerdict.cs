namespace StreamingDaemon.Bench.Streams;

/// <summary>How one stream ended. Only <see cref="Good"/> counts as served.</summary>
internal enum StreamVerdict
{
    /// <summary>Not over yet.</summary>
    Open,

    /// <summary>Every byte as expected, [DONE], then the end of the stream.</summary>
    Good,

    /// <summary>A byte differs: changed, lost in the middle, or out of order.</summary>
    WrongBytes,

    /// <summary>The end came before the last expected byte.</summary>
    Truncated,

    /// <summary>More came after [DONE].</summary>
    ExtraBytes,

    /// <summary>An HTTP status other than 200, such as 503 over capacity.</summary>
    Refused,

    /// <summary>The connection was reset, or a read failed otherwise.</summary>
    Reset,

    /// <summary>The daemon's socket did not take the handoff.</summary>
    HandoffFailed,

    /// <summary>Neither whole nor ended within the patience.</summary>
    TimedOut,
}
