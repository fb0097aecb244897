namespace StreamingDaemon.Backends;

/// <summary>How a stream ended: the one vocabulary of the access log, the metrics and the tests.</summary>
public enum StreamOutcome
{
    /// <summary>The whole answer and its <c>[DONE]</c> were handed to the kernel.</summary>
    Completed,

    /// <summary>The client closed or reset its connection first.</summary>
    ClientGone,

    /// <summary>The client took no byte within the write timeout, was behind while memory was short, or the
    /// calls on its socket took too much CPU time.</summary>
    SlowClient,

    /// <summary>The upstream refused, failed, reset, or sent something unreadable.</summary>
    UpstreamError,

    /// <summary>The upstream was silent for too long.</summary>
    UpstreamTimeout,

    /// <summary>The upstream ended cleanly, but without <c>[DONE]</c> or a finish reason.</summary>
    UpstreamTruncated,

    /// <summary>A limit per user was reached.</summary>
    RateLimited,

    /// <summary>All connections were in use.</summary>
    OverCapacity,

    /// <summary>Streams held all the memory they are allowed, or the process had none left.</summary>
    OverMemory,

    /// <summary>The handoff itself was unusable.</summary>
    BadHandoff,

    /// <summary>The stream reached its longest duration.</summary>
    StreamTimeout,

    /// <summary>The daemon stopped before the stream had ended.</summary>
    Drained,

    /// <summary>A fault of the daemon itself.</summary>
    InternalError,

    /// <summary>The application stopped a kept answer; its readers got the end.</summary>
    Stopped,

    /// <summary>A kept answer had no reader for too long, and its call was cancelled.</summary>
    Orphaned,

    /// <summary>The handoff names a kept answer that does not exist for its user.</summary>
    AnswerNotFound,
}
