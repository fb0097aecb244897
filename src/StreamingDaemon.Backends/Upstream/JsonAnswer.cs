namespace StreamingDaemon.Backends.Upstream;

/// <summary>Reads a JSON body in the place of events: a whole completion is one event, and the end
/// too.</summary>
internal static class JsonAnswer
{
    /// <param name="json">The whole body.</param>
    /// <param name="events">Reads it; disposed here.</param>
    /// <param name="sink">Takes the deltas, if it is an answer.</param>
    /// <param name="status">The response's status.</param>
    /// <param name="cancellationToken">The client's.</param>
    /// <exception cref="OperationCanceledException">The client's token fired.</exception>
    /// <remarks>The sink's exceptions pass through.</remarks>
    public static async ValueTask<BackendResult> ReadAsync<TEvents>(ReadOnlyMemory<byte> json, TEvents events,
        IDeltaSink sink, int status, CancellationToken cancellationToken)
        where TEvents : struct, IEventReader
    {
        using (events)
        {
            switch (events.Read(IEventReader.MessageEvent, json.Span))
            {
                case EventKind.Error:
                    return UpstreamFailures.NotAStream(events.Error, status) with
                    {
                        FinishReason = events.FinishReason,
                        LacksModel = events.LacksModel,
                    };
                case EventKind.Malformed:
                    return UpstreamFailures.Malformed(status);
            }

            var started = false;
            for (var isEnd = false; ; isEnd = true)
            {
                while (events.TryTake(out var delta))
                {
                    if (!started)
                        sink.OnResponseStarted();
                    started = true;
                    await sink.WriteAsync(delta, cancellationToken);
                }

                if (isEnd)
                    break;
                events.End(isWhole: true);
            }

            var result = events.HasAnswer
                ? BackendResult.Completed
                : UpstreamFailures.Empty(events.OnlyHeld, status);
            return result with { FinishReason = events.FinishReason };
        }
    }
}
