using System.Buffers;
using System.Diagnostics;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>
/// One stream between its backend and its client: writes the head, the events and the end, and counts them.
/// A lock keeps each write whole, because the watchdog may send the head or end the stream while the backend
/// writes. It locks the session itself, which no other class locks: a Lock would be one more object for each
/// stream.
/// </summary>
internal sealed class StreamSession(ClientStream client, HandoffRequest request, IStreamingBackend backend,
    StreamFormat format, StreamReporter reporter) : UpstreamCall(request, backend, format)
{
    private static readonly ReadOnlyMemory<byte> s_stop = "stop"u8.ToArray();

    private TimeSpan _timeToFirstToken;
    private ushort _status;

    // Not a nullable ErrorCode: the runtime gives each struct in a class eight bytes of its own.
    private ErrorCode _error;
    private bool _hasError;
    private bool _headSent;
    private bool _finished;
    private bool _lacksFinishReason;

    public ClientStream Client => client;

    public override CancellationToken Cancelled => client.Cancelled;

    public override bool HeadSent => Volatile.Read(ref _headSent);

    public override ValueTask<ClientEnd> Ended => client.Ended;

    /// <summary>Time from the accept of the handoff to the first delta; null if there was none.</summary>
    public TimeSpan? TimeToFirstToken => Events == 0 ? null : _timeToFirstToken;

    /// <summary>The HTTP status sent, or 0 if no head was sent yet.</summary>
    public int Status => _status != 0 ? _status : HeadSent ? 200 : 0;

    /// <summary>The error that the client was sent, or null.</summary>
    public ErrorCode? Error
    {
        get => _hasError ? _error : null;
        private set => (_hasError, _error) = (value is not null, value.GetValueOrDefault());
    }

    /// <summary>What the handoff asks of a kept answer; none for a plain stream.</summary>
    public AnswerUse Use { get; set; }

    protected override bool IsGone => client.IsGone;

    protected override void FireCancelled() => client.Cancel();

    /// <summary>Sends the head, unless it was sent already or the stream is over.</summary>
    public override void EnsureHead()
    {
        lock (this)
        {
            if (_finished || _headSent)
                return;
            EnsureHeadLocked();
            client.FlushWithoutWaiting();
        }
    }

    public override void OnRetry(UpstreamFault fault) => reporter.Metrics.OnUpstreamRetry(fault);

    public override async ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken)
    {
        OnUpstreamActivity();
        IsWhole = false;
        if (Content is not null && IsOnlyCollected(delta))
            return;
        ValueTask<bool> flush;
        lock (this)
        {
            // A backend that outlives its stream must not write: its buffer may be another stream's by now.
            if (_finished)
                throw new OperationCanceledException("the stream is over", Cancelled);
            EnsureHeadLocked();
            // A plain token takes no virtual call.
            if (delta.Kind == DeltaKinds.Text && Format is TextFormat)
                ServerSentEvents.WriteContent(client, delta.Text.Span);
            else
                WriteLocked(delta);
            flush = client.FlushAsync(Cancelled);
        }

        CountEvents(1);
        if (!flush.IsCompleted)
            IsWaitingForClient = true;
        var taken = await flush.ConfigureAwait(false);
        OnUpstreamActivity();
        IsWaitingForClient = false;
        if (!taken)
            throw new OperationCanceledException("the client is gone", Cancelled);
    }

    /// <summary>Sends events that were written for several readers, byte for byte.</summary>
    /// <param name="events">Whole events.</param>
    /// <param name="count">How many they are.</param>
    /// <returns>As <see cref="ClientStream.FlushAsync"/>.</returns>
    public ValueTask<bool> RelayAsync(ReadOnlySpan<byte> events, int count)
    {
        ValueTask<bool> flush;
        lock (this)
        {
            if (_finished)
                return new ValueTask<bool>(false);
            EnsureHeadLocked();
            client.Write(events);
            flush = client.FlushAsync(Cancelled);
        }

        CountEvents(count);
        return flush;
    }

    public override void Finish(BackendResult result, ErrorResponse? error)
    {
        switch (result.Outcome)
        {
            case StreamOutcome.Completed:
                FinishWhole();
                break;
            case StreamOutcome.UpstreamTruncated:
                FinishTruncated();
                break;
            default:
                if (error is not null)
                    FinishWithError(error);
                else
                    Abandon();
                break;
        }
    }

    /// <summary>Ends a complete answer: [DONE], then the end of the stream.</summary>
    private void FinishWhole() => Finish(static (session, _) =>
    {
        session.EnsureHeadLocked();
        if (session._lacksFinishReason)
            session.WriteLocked(new StreamDelta(s_stop, DeltaKinds.FinishReason));
        session.Format.WriteDone(session.Client);
    }, null);

    /// <summary>Ends an answer that the upstream ended early without an error: without [DONE].</summary>
    private void FinishTruncated()
    {
        if (Format.TruncationError is { } error)
        {
            FinishWithError(error);
            return;
        }

        Finish(static (session, _) =>
        {
            session.EnsureHeadLocked();
            session.Client.Write(ServerSentEvents.Truncated);
        }, null);
    }

    /// <summary>Ends a stream whose end is among the relayed events.</summary>
    /// <param name="error">The error that it ends with, or null.</param>
    public void FinishRelayed(ErrorResponse? error) => Finish(static (session, error) =>
    {
        session.EnsureHeadLocked();
        session.Error = error?.Code;
    }, error);

    /// <summary>Sends a response that is no stream.</summary>
    /// <param name="status">200, with a body; or 204, without one.</param>
    /// <param name="body">One line of JSON; empty for 204.</param>
    public void FinishWithResponse(int status, string body)
    {
        _status = (ushort)status;
        Finish((session, _) => ResponseHead.WriteResponse(
            session.Client, status, body, session.Request.ResponseHeaders.Span), null);
    }

    /// <summary>Ends the stream with an error: an HTTP status if no head was sent, else an error event.
    /// </summary>
    public void FinishWithError(ErrorResponse end) => Finish(static (session, end) =>
    {
        var error = end!;
        session.Error = error.Code;
        if (session._headSent)
        {
            session.Format.WriteError(session.Client, error, session.Facts());
            return;
        }

        var body = session.Format.ErrorBody(error, session.Facts());
        ResponseHead.WriteError(session.Client, error, body, session.Request.ResponseHeaders.Span);
        session._status = (ushort)error.Status;
    }, end);

    /// <summary>Ends the stream and sends the client nothing more.</summary>
    public void Abandon()
    {
        lock (this)
        {
            _finished = true;
            client.Abort();
        }
    }

    /// <summary>Writes the log line and the metrics, once the client has read everything or is gone.
    /// </summary>
    public override void Report(BackendResult result, ClientEnd end) => reporter.Write(new StreamReport(
        Request, client, Backend, Combine(result.Outcome, end), result, Events, TimeToFirstToken, Status,
        Error, Use));

    private void CountEvents(int count)
    {
        if (Events == 0)
        {
            State = StreamState.Streaming;
            _timeToFirstToken = Stopwatch.GetElapsedTime(client.AcceptedTimestamp);
        }

        Events += count;
        reporter.Metrics.OnEvents(count);
    }

    private void Finish(Action<StreamSession, ErrorResponse?> write, ErrorResponse? end)
    {
        lock (this)
        {
            if (_finished)
                return;
            _finished = true;
            if (client.IsCut)
            {
                // Half of a large event was sent: the client would read anything more as the rest of it.
                client.Abort();
                return;
            }

            write(this, end);
            client.Complete();
        }
    }

    /// <summary>Writes the head, if it was not yet. It leaves with what follows it, in one flush.</summary>
    private void EnsureHeadLocked()
    {
        if (_headSent)
            return;
        _headSent = true;
        // After the head, every flush holds whole events, so a keep-alive may go between two of them.
        client.BeginKeepAlive();
        ResponseHead.WriteStream(client, Request.ResponseHeaders.Span);
    }

    private void WriteLocked(StreamDelta delta)
    {
        Format.Write(client, delta, Facts());
        _lacksFinishReason = Format.NeedsFinishReason
            && (delta.Kind is DeltaKinds.Text or DeltaKinds.Reasoning
                || (_lacksFinishReason && delta.Kind != DeltaKinds.FinishReason));
    }

    /// <summary>One outcome from the backend's result and the client's end: whichever failed first.
    /// </summary>
    private static StreamOutcome Combine(StreamOutcome stream, ClientEnd end) => end switch
    {
        ClientEnd.SlowClient => StreamOutcome.SlowClient,
        ClientEnd.ClientGone or ClientEnd.SocketError when stream is StreamOutcome.Completed
            or StreamOutcome.UpstreamTruncated or StreamOutcome.Stopped => StreamOutcome.ClientGone,
        ClientEnd.ServerStopped when stream is StreamOutcome.ClientGone or StreamOutcome.Completed =>
            StreamOutcome.Drained,
        _ => stream,
    };
}
