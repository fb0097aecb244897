namespace StreamingDaemon.Host.Streams;

/// <summary>The phase of a stream.</summary>
internal enum StreamState : byte
{
    /// <summary>LLM_QUEUED: the stream waits for a worker slot.</summary>
    Queued,

    /// <summary>LLM_PENDING: the backend was called; no token has arrived yet.</summary>
    Pending,

    /// <summary>At least one token has arrived.</summary>
    Streaming,
}
