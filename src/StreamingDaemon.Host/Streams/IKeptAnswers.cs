namespace StreamingDaemon.Host.Streams;

/// <summary>Serves handoffs about answers that outlive their reader.</summary>
internal interface IKeptAnswers
{
    /// <summary>Serves the client if its handoff is about a kept answer.</summary>
    /// <param name="session">A client that is not refused. Nothing was sent to it.</param>
    /// <returns>Completes when the client is served; null if it is to be served like any other.</returns>
    Task? TryHandle(StreamSession session);
}
