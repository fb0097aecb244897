using System.Runtime.CompilerServices;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>Reads deltas from an answer's bytes, passes them to the sink, and knows how the answer
/// ended.</summary>
/// <typeparam name="TEvents">Reads the upstream's events.</typeparam>
/// <param name="sink">Takes the deltas.</param>
/// <param name="events">Reads the events; disposed with this.</param>
/// <param name="maxEventBytes">Longest line and longest event, bytes.</param>
/// <param name="status">The response's HTTP status.</param>
/// <param name="cancellationToken">The client's.</param>
internal sealed class EventRelay<TEvents>(IDeltaSink sink, TEvents events, int maxEventBytes, int status,
    CancellationToken cancellationToken) : IDisposable
    where TEvents : struct, IEventReader
{
    /// <summary>Bytes accepted without any part of an answer: comments, empty events. An hour of heartbeats
    /// is a thousandth of it.</summary>
    private const int MaxIdleBytes = 16 * 1024 * 1024;

    private readonly SseReader<TEvents> _sse = new(events, maxEventBytes);
    private int _parts;
    private long _idleBytes;

    /// <summary>What the sink threw: not the upstream's fault.</summary>
    public Exception? FaultOfSink { get; private set; }

    /// <inheritdoc cref="IEventReader.IsFinished"/>
    public bool IsFinished => events.IsFinished;

    /// <inheritdoc cref="IEventReader.Parts"/>
    public int Parts => _parts;

    /// <summary>Passes the events in the bytes that came to the sink.</summary>
    /// <returns>How the answer ended; null if it goes on.</returns>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<BackendResult?> RelayAsync(ReadOnlyMemory<byte> bytes)
    {
        var offset = 0;
        while (_sse.TryRead(bytes.Span, ref offset, out var kind))
        {
            while (events.TryTake(out var delta))
                await WriteAsync(delta);
            // It may have waited a long time for its client.
            cancellationToken.ThrowIfCancellationRequested();
            if (kind != EventKind.Delta)
                return await EndAtAsync(kind);
        }

        if (_sse.IsTooLong)
            return await EndAsync(UpstreamFailures.TooLong(maxEventBytes, status));
        return IsGettingNowhere(bytes.Length)
            ? await EndAsync(UpstreamFailures.NoProgress(MaxIdleBytes, status))
            : null;
    }

    /// <summary>The body has ended: reads a last event that no blank line ended. Half an event is
    /// ignored.</summary>
    /// <param name="fault">Why the body broke off; null for a clean end.</param>
    public async ValueTask<BackendResult> EndWithBodyAsync(Exception? fault)
    {
        while (_sse.TryReadEnd(out var kind))
        {
            while (events.TryTake(out var delta))
                await WriteAsync(delta);
            if (kind is EventKind.Done or EventKind.Error)
                return await EndAtAsync(kind);
        }

        return await EndAsync(
            fault is not null ? UpstreamFailures.FromReading(fault, status)
            : events.IsFinished ? BackendResult.Completed
            : UpstreamFailures.Truncated(TEvents.ExpectedEnd, status));
    }

    public void Dispose()
    {
        _sse.Dispose();
        events.Dispose();
    }

    private bool IsGettingNowhere(int bytes)
    {
        var parts = events.Parts;
        _idleBytes = parts == _parts ? _idleBytes + bytes : 0;
        _parts = parts;
        return _idleBytes > Math.Max(MaxIdleBytes, 2L * maxEventBytes);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask WriteAsync(StreamDelta delta)
    {
        try
        {
            await sink.WriteAsync(delta, cancellationToken);
        }
        catch (Exception exception)
        {
            FaultOfSink = exception;
            throw;
        }
    }

    /// <summary>An event ends the answer.</summary>
    private ValueTask<BackendResult> EndAtAsync(EventKind kind) => EndAsync(kind switch
    {
        EventKind.Done => BackendResult.Completed,
        EventKind.Error => UpstreamFailures.FromEvent(events.Error, status),
        _ => UpstreamFailures.Malformed(status),
    });

    /// <summary>Passes the last deltas to the sink. After a finish reason the answer is whole, unless the
    /// upstream itself says that it is not. An answer with nothing to show is never whole.</summary>
    private async ValueTask<BackendResult> EndAsync(BackendResult result)
    {
        if (events.IsFinished && result.Fault is not (null or UpstreamFault.ErrorEvent))
            result = BackendResult.Completed with { Reason = $"whole, but then {result.Reason}" };
        events.End(isWhole: result.Outcome == StreamOutcome.Completed);
        while (events.TryTake(out var delta))
            await WriteAsync(delta);
        if (!events.HasAnswer && result.Fault is null or UpstreamFault.Truncated)
            result = UpstreamFailures.Empty(events.OnlyHeld, status);
        return events.FinishReason is { } reason ? result with { FinishReason = reason } : result;
    }
}
