using System.Runtime.CompilerServices;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>Reads deltas from an answer's bytes, passes them to the sink, and knows how the answer
/// ended.</summary>
/// <typeparam name="TEvents">Reads the upstream's events.</typeparam>
/// <param name="sink">Takes the deltas.</param>
/// <param name="events">Reads the events; disposed with this.</param>
/// <param name="maxEventBytes">Longest line and longest event, bytes.</param>
/// <param name="status">The response's HTTP status.</param>
/// <param name="memory">Counts what the answer holds.</param>
/// <param name="cancellationToken">The client's.</param>
internal sealed class EventRelay<TEvents>(IDeltaSink sink, TEvents events, int maxEventBytes, int status,
    AnswerMemory memory, CancellationToken cancellationToken) : IDisposable
    where TEvents : struct, IEventReader
{
    /// <summary>Bytes accepted without any part of an answer: comments, empty events. An hour of heartbeats
    /// is a thousandth of it.</summary>
    private const int MaxIdleBytes = 16 * 1024 * 1024;

    private readonly SseReader<TEvents> _sse = new(events, maxEventBytes, memory);
    private int _parts;
    private long _idleBytes;

    /// <summary>What gets the answer.</summary>
    public IDeltaSink Sink => sink;

    /// <summary>The client's.</summary>
    public CancellationToken CancellationToken => cancellationToken;

    /// <summary>What the answer holds.</summary>
    public ref AnswerMemory Memory => ref _sse.Memory;

    /// <summary>What the sink threw: not the upstream's fault.</summary>
    public Exception? FaultOfSink { get; private set; }

    /// <inheritdoc cref="IEventReader.IsFinished"/>
    public bool IsFinished => events.IsFinished;

    /// <inheritdoc cref="IEventReader.MayGoOnAfterFinish"/>
    public bool MayGoOnAfterFinish => events.MayGoOnAfterFinish;

    /// <inheritdoc cref="IEventReader.Parts"/>
    public int Parts => _parts;

    /// <summary>Passes the events in the bytes that came to the sink.</summary>
    /// <returns>Why the answer is over, for <see cref="EndAsync(RelayEnd)"/>; None if it goes on.</returns>
    /// <remarks>Nearly always the sink takes a delta at once. Then this is one call, without a state machine.
    /// </remarks>
    public ValueTask<RelayEnd> RelayAsync(ReadOnlyMemory<byte> bytes)
    {
        var offset = 0;
        while (_sse.TryRead(bytes.Span, ref offset, out var kind))
        {
            while (events.TryTake(out var delta))
            {
                var write = Write(delta);
                if (!write.IsCompletedSuccessfully)
                    return GoOnAsync(write, kind, bytes, offset);
                write.GetAwaiter().GetResult();
            }

            if (EndOf(kind) is not RelayEnd.None and var end)
                return new(end);
        }

        return new(EndOfBytes(bytes.Length));
    }

    /// <summary>How an answer ended that is over.</summary>
    public ValueTask<BackendResult> EndAsync(RelayEnd end) => EndAsync(end switch
    {
        RelayEnd.Done => BackendResult.Completed,
        RelayEnd.Error => UpstreamFailures.FromEvent(events.Error, status) with
        {
            LacksModel = events.LacksModel,
        },
        RelayEnd.TooLong => UpstreamFailures.TooLong(maxEventBytes, status),
        RelayEnd.NoProgress => UpstreamFailures.NoProgress(MaxIdleBytes, status),
        _ => UpstreamFailures.Malformed(status),
    });

    /// <summary>The body has ended: reads a last event that no blank line ended. Half an event is
    /// ignored.</summary>
    /// <param name="fault">Why the body broke off; null for a clean end.</param>
    public async ValueTask<BackendResult> EndWithBodyAsync(Exception? fault)
    {
        while (_sse.TryReadEnd(out var kind))
        {
            while (events.TryTake(out var delta))
                await WriteAsync(delta);
            if (kind is EventKind.Done)
                return await EndAsync(RelayEnd.Done);
            if (kind is EventKind.Error)
                return await EndAsync(RelayEnd.Error);
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

    /// <summary>The rest of <see cref="RelayAsync"/>, once the sink made it wait.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<RelayEnd> GoOnAsync(
        ValueTask write, EventKind kind, ReadOnlyMemory<byte> bytes, int offset)
    {
        await WatchAsync(write);
        do
        {
            while (events.TryTake(out var delta))
                await WriteAsync(delta);
            if (EndOf(kind) is not RelayEnd.None and var end)
                return end;
        }
        while (_sse.TryRead(bytes.Span, ref offset, out kind));
        return EndOfBytes(bytes.Length);
    }

    /// <summary>What an event means for the answer, once its deltas are written.</summary>
    private RelayEnd EndOf(EventKind kind)
    {
        // The sink may have waited a long time for its client.
        cancellationToken.ThrowIfCancellationRequested();
        return kind switch
        {
            EventKind.Delta => RelayEnd.None,
            EventKind.Done => RelayEnd.Done,
            EventKind.Error => RelayEnd.Error,
            _ => RelayEnd.Malformed,
        };
    }

    private RelayEnd EndOfBytes(int count) =>
        _sse.IsTooLong ? RelayEnd.TooLong : IsGettingNowhere(count) ? RelayEnd.NoProgress : RelayEnd.None;

    private bool IsGettingNowhere(int bytes)
    {
        var parts = events.Parts;
        _idleBytes = parts == _parts ? _idleBytes + bytes : 0;
        _parts = parts;
        return _idleBytes > Math.Max(MaxIdleBytes, 2L * maxEventBytes);
    }

    private ValueTask WriteAsync(StreamDelta delta) => WatchAsync(Write(delta));

    private ValueTask Write(StreamDelta delta)
    {
        Memory.AddText(delta.Text.Length);
        try
        {
            return sink.WriteAsync(delta, cancellationToken);
        }
        catch (Exception exception)
        {
            FaultOfSink = exception;
            throw;
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask WatchAsync(ValueTask write)
    {
        try
        {
            await write;
        }
        catch (Exception exception)
        {
            FaultOfSink = exception;
            throw;
        }
    }

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
        if (events.FinishReason is not { } reason)
            return result;
        return ReferenceEquals(result, BackendResult.Completed) && reason == "stop"
            ? BackendResult.Stopped
            : result with { FinishReason = reason };
    }
}

/// <summary>Why no more of an answer is read.</summary>
internal enum RelayEnd
{
    /// <summary>It goes on.</summary>
    None,

    /// <summary>The end marker came.</summary>
    Done,

    /// <summary>An error came.</summary>
    Error,

    /// <summary>An event is not JSON.</summary>
    Malformed,

    /// <summary>A line or an event is above the limit.</summary>
    TooLong,

    /// <summary>Many bytes brought no part of an answer.</summary>
    NoProgress,
}
