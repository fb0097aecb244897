using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>
/// Serves each client that the loop hands over: reads the handoff, chooses the backend, runs the stream, and
/// reports how it ended. Every client has exactly one outcome.
/// </summary>
internal sealed class HandoffDispatcher : IHandoffHandler
{
    /// <summary>How long retries may take once the head is sent. A failure can no longer be a status then,
    /// and a person waits at the browser.</summary>
    private static readonly TimeSpan s_retryWindowAfterHead = TimeSpan.FromSeconds(1);

    private readonly DaemonOptions _options;
    private readonly StreamFormat _format;
    private readonly BackendRegistry _backends;
    private readonly StreamWatchdog _watchdog;
    private readonly UserLimits _limits;
    private readonly BackendConcurrencyLimiter _workers;
    private readonly StreamMetrics _metrics;
    private readonly AccessLog _accessLog;
    private readonly HandoffLog _log;
    private readonly bool _keepsUnknown;

    public HandoffDispatcher(DaemonOptions options, BackendRegistry backends, StreamWatchdog watchdog,
        UserLimits limits, BackendConcurrencyLimiter workers, StreamMetrics metrics, AccessLog accessLog,
        HandoffLog log)
    {
        _options = options;
        _format = StreamFormats.TryGet(options.Streaming.Format, out var format)
            ? format
            : throw new ArgumentException($"no format is {options.Streaming.Format}", nameof(options));
        _backends = backends;
        _watchdog = watchdog;
        _limits = limits;
        _workers = workers;
        _metrics = metrics;
        _accessLog = accessLog;
        _log = log;
        _keepsUnknown = backends.Names.Any(name => backends.Resolve(name).PassesUnknownParameters);
        // A finished session accepts no more writes, so a backend that still runs does no harm.
        watchdog.Abandoned = session => _ = ConcludeAsync(session, Cancelled(session));
    }

    public Task HandleAsync(ClientStream client)
    {
        HandoffRequest? request = null;
        StreamSession? session = null;
        try
        {
            _metrics.OnHandoff(client);
            var readable = HandoffRequestReader.TryRead(client.HandoffData, out request,
                withPrompt: client.Admission == HandoffAdmission.Admitted, _keepsUnknown);
            client.ReleaseHandoffData();
            request.Client = client;
            if (request.Unusable.Count > 0)
                _log.Unusable(request.Unusable, request.RequestId);
            session = new StreamSession(client, request, BackendFor(request), FormatFor(request), _metrics);
            request.Wanted = session.Format.Wanted(request.Events ?? _options.Streaming.Events);
            if (request.Unknown.Count > 0 && !session.Backend.PassesUnknownParameters)
                _log.UnknownFields(request.Unknown, request.RequestId);
            client.ExpectBytesPerStream(session.Backend.BytesPerStream);
            return Refusal(session, readable) is { } refusal
                ? ConcludeAsync(session, new BackendResult(refusal.Outcome, refusal.End.Message), refusal.End)
                : StreamAsync(session);
        }
        catch (Exception e)
        {
            // A bug in the daemon, before anything was sent. The client gets an error and the access log a
            // line, as for any stream that fails.
            _log.Fault(e);
            request ??= new HandoffRequest();
            session ??= new StreamSession(
                client, request, _backends.Default, FormatFor(request), _metrics);
            return ConcludeAsync(session, FaultOf(e));
        }
    }

    public void OnFault(ClientStream client, Exception exception)
    {
        try
        {
            _metrics.OnFault();
            _log.Fault(exception);
        }
        catch (OutOfMemoryException)
        {
            OutOfMemory.Survive();
        }
    }

    public void OnRejected(HandoffRejection reason, HandoffPeer peer)
    {
        try
        {
            _metrics.OnRejected(reason switch
            {
                HandoffRejection.ClientGone => StreamOutcome.ClientGone,
                HandoffRejection.ServerStopped => StreamOutcome.Drained,
                _ => StreamOutcome.BadHandoff,
            });
            _log.Dropped(reason, peer);
        }
        catch (OutOfMemoryException)
        {
            OutOfMemory.Survive();
        }
    }

    public void OnThreadReplaced(HungWork work) => _log.ThreadReplaced(work);

    private IStreamingBackend BackendFor(HandoffRequest request)
    {
        if (request.Backend is { } name && !_backends.TryGet(name, out _))
            _log.UnknownBackend(name, _backends.Default.Name, request.RequestId);
        return _backends.Resolve(request.Backend);
    }

    /// <summary>The stream's format. If the handoff names an unknown one, the refusal is in the default
    /// format.</summary>
    private StreamFormat FormatFor(HandoffRequest request) =>
        request.Format is { } name && StreamFormats.TryGet(name, out var format) ? format : _format;

    /// <summary>Why a client is refused, and the response it gets; null if it is served.</summary>
    private (ErrorResponse End, StreamOutcome Outcome)? Refusal(StreamSession session, bool readable)
    {
        switch (session.Client.Admission)
        {
            case HandoffAdmission.OverCapacity:
                return (ErrorResponse.OverCapacity, StreamOutcome.OverCapacity);
            case HandoffAdmission.OverMemory:
                return (ErrorResponse.OverMemory, StreamOutcome.OverMemory);
            case HandoffAdmission.TooLarge:
                return (ErrorResponse.HandoffTooLarge, StreamOutcome.BadHandoff);
        }

        if (!readable)
            return (ErrorResponse.MalformedHandoff, StreamOutcome.BadHandoff);
        if (session.Request.Format is { } format && !StreamFormats.TryGet(format, out _))
            return (ErrorResponse.UnknownFormat, StreamOutcome.BadHandoff);
        if (session.Backend.RequiresPrompt && !session.Request.HasPrompt)
        {
            return (session.Request.IsEmpty ? ErrorResponse.EmptyHandoff : ErrorResponse.NoPrompt,
                StreamOutcome.BadHandoff);
        }

        session.Permit = _limits.Enter(session.Request.UserId);
        return !session.Permit.IsRefused ? null
            : (session.Permit.RetryAfterSeconds is { } seconds ? ErrorResponse.RateLimited(seconds)
                : ErrorResponse.TooManyStreams, StreamOutcome.RateLimited);
    }

    /// <summary>Runs the stream until its backend returns. If the backend blocks this thread or never
    /// returns, the watchdog ends the stream.</summary>
    private async Task StreamAsync(StreamSession session)
    {
        BackendResult result;
        try
        {
            _watchdog.Add(session);
            if (_options.Streaming.HeadWaitMs == 0)
                session.EnsureHead();
            // Frees the thread that delivers handoffs for the next one. Backends run on the thread pool.
            await Task.Yield();
            session.Worker = await _workers.EnterAsync(session.Cancelled).ConfigureAwait(false);
            // In a full thread pool, the stream may be over before this line runs.
            session.Cancelled.ThrowIfCancellationRequested();
            session.MarkPending();
            session.Request.RetryWindow = RetryWindow(session);
            result = await session.Backend.StreamAsync(session.Request, session, session.Cancelled)
                .ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (session.CancelOutcome is not null)
        {
            result = Cancelled(session);
        }
        catch (Exception e)
        {
            _log.BackendFault(e, session.Backend.Name, session.Request.RequestId);
            result = FaultOf(e);
        }

        // Not ConcludeAsync: a second async method would allocate one more object for each stream.
        if (TryConclude(session, result, ErrorResponse.For(result)))
            Report(session, result, await session.Client.Ended.ConfigureAwait(false));
    }

    private async Task ConcludeAsync(
        StreamSession session, BackendResult result, ErrorResponse? refusal = null)
    {
        if (TryConclude(session, result, refusal ?? ErrorResponse.For(result)))
            Report(session, result, await session.Client.Ended.ConfigureAwait(false));
    }

    /// <summary>Ends the stream, once: sends the client its end and releases what the stream held.</summary>
    /// <returns>False if the stream had already ended.</returns>
    private bool TryConclude(StreamSession session, BackendResult result, ErrorResponse? end)
    {
        if (!session.TryConclude())
        {
            // The stream may have got its worker slot after the first caller looked for one to release.
            session.Worker?.Dispose();
            return false;
        }

        // Release the permit before the end is sent: a client that has read the end may ask again at once.
        // A client that still reads what was sent needs no upstream, so it does not count for its user.
        session.Permit.Dispose();
        Finish(session, result, end);
        _watchdog.Remove(session);
        session.Worker?.Dispose();
        return true;
    }

    /// <summary>Writes the log line and the metrics, once the client has read everything or is gone.
    /// </summary>
    private void Report(StreamSession session, BackendResult result, ClientEnd end)
    {
        var report = new StreamReport(session.Request, session.Client, session.Backend,
            Combine(result.Outcome, end), result, session.Events, session.TimeToFirstToken, session.Status,
            session.Error);
        _accessLog.Write(report);
        _metrics.OnStreamEnded(report);
    }

    /// <summary>How long retries may take: until the head must be sent, because until then a failure can
    /// still be a status.</summary>
    private TimeSpan RetryWindow(StreamSession session) => session.HeadSent
        ? s_retryWindowAfterHead
        : TimeSpan.FromMilliseconds(
            _options.Streaming.HeadWaitMs - (Environment.TickCount64 - session.StartedMs));

    private static BackendResult FaultOf(Exception exception) => new(
        exception is OutOfMemoryException ? StreamOutcome.OverMemory : StreamOutcome.InternalError,
        exception.GetType().Name);

    private static BackendResult Cancelled(StreamSession session)
    {
        var outcome = session.CancelOutcome ?? StreamOutcome.ClientGone;
        if (outcome != StreamOutcome.UpstreamTimeout)
            return new BackendResult(outcome);
        if (session.State == StreamState.Streaming)
        {
            return new BackendResult(outcome, "the upstream fell silent")
            {
                Fault = UpstreamFault.IdleTimeout,
            };
        }

        const string NoToken = "the upstream sent no token in time";
        var hint = session.Backend.TimeoutHint;
        return new BackendResult(outcome, hint is null ? NoToken : $"{NoToken}; {hint}")
        {
            Fault = UpstreamFault.FirstTokenTimeout,
        };
    }

    private static void Finish(StreamSession session, BackendResult result, ErrorResponse? error)
    {
        switch (result.Outcome)
        {
            case StreamOutcome.Completed:
                session.FinishWhole();
                break;
            case StreamOutcome.UpstreamTruncated:
                session.FinishTruncated();
                break;
            default:
                if (error is not null)
                    session.FinishWithError(error);
                else
                    session.Abandon();
                break;
        }
    }

    /// <summary>One outcome from the backend's result and the client's end: whichever failed first.
    /// </summary>
    private static StreamOutcome Combine(StreamOutcome stream, ClientEnd end) => end switch
    {
        ClientEnd.SlowClient => StreamOutcome.SlowClient,
        ClientEnd.ClientGone or ClientEnd.SocketError when stream is StreamOutcome.Completed
            or StreamOutcome.UpstreamTruncated => StreamOutcome.ClientGone,
        ClientEnd.ServerStopped when stream is StreamOutcome.ClientGone or StreamOutcome.Completed =>
            StreamOutcome.Drained,
        _ => stream,
    };
}
