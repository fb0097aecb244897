using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>
/// Takes each client from the loop to its backend and to its end: reads the handoff, chooses the backend,
/// runs the stream, says what became of it. Exactly one outcome for every client.
/// </summary>
internal sealed class HandoffDispatcher : IHandoffHandler
{
    /// <summary>How long retries may take if the head is out already: no status can be saved any more,
    /// and the person in front of the browser waits.</summary>
    private static readonly TimeSpan RetryWindowAfterHead = TimeSpan.FromSeconds(1);

    private readonly DaemonOptions _options;
    private readonly BackendRegistry _backends;
    private readonly StreamWatchdog _watchdog;
    private readonly UserLimits _limits;
    private readonly BackendConcurrencyLimiter _workers;
    private readonly StreamMetrics _metrics;
    private readonly AccessLog _accessLog;
    private readonly HandoffLog _log;

    public HandoffDispatcher(DaemonOptions options, BackendRegistry backends, StreamWatchdog watchdog,
        UserLimits limits, BackendConcurrencyLimiter workers, StreamMetrics metrics, AccessLog accessLog,
        HandoffLog log)
    {
        _options = options;
        _backends = backends;
        _watchdog = watchdog;
        _limits = limits;
        _workers = workers;
        _metrics = metrics;
        _accessLog = accessLog;
        _log = log;
        // Its sink takes nothing any more once the session is finished, so the backend may be left behind.
        watchdog.Abandoned = session => _ = ConcludeAsync(session, Cancelled(session));
    }

    public Task HandleAsync(ClientStream client)
    {
        HandoffRequest? request = null;
        StreamSession? session = null;
        try
        {
            _metrics.OnHandoff(client.AcceptedTimestamp);
            var readable = HandoffRequestReader.TryRead(client.HandoffData, out request,
                withPrompt: client.Admission == HandoffAdmission.Admitted);
            client.ReleaseHandoffData();
            request.Client = client;
            if (request.Unusable.Count > 0)
                _log.Unusable(request.Unusable, request.RequestId);
            session = new StreamSession(client, request, BackendFor(request), _metrics);
            client.ExpectBytesPerStream(session.Backend.BytesPerStream);
            return Refusal(session, readable) is { } refusal
                ? ConcludeAsync(session, new BackendResult(refusal.Outcome, refusal.End.Message), refusal.End)
                : StreamAsync(session);
        }
        catch (Exception e)
        {
            // A defect of ours, before anything was sent: the client is told, and the line is written, as of
            // any stream that fails.
            _log.Fault(e);
            request ??= new HandoffRequest();
            session ??= new StreamSession(client, request, _backends.Default, _metrics);
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

    /// <summary>Why a client is not served, and what it is told; null for one that is.</summary>
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
        if (session.Backend.RequiresPrompt && !session.Request.HasPrompt)
            return (ErrorResponse.NoPrompt, StreamOutcome.BadHandoff);
        session.Permit = _limits.Enter(session.Request.HasUserId ? session.Request.UserId : null);
        return session.Permit.RetryAfterSeconds is { } seconds
            ? (ErrorResponse.RateLimited(seconds), StreamOutcome.RateLimited)
            : null;
    }

    /// <summary>Runs the stream to the end that its backend comes to. If the backend blocks this thread
    /// or does not come back, the watchdog ends the stream meanwhile.</summary>
    private async Task StreamAsync(StreamSession session)
    {
        BackendResult result;
        try
        {
            _watchdog.Add(session);
            if (_options.Streaming.HeadWaitMs == 0)
                session.EnsureHead();
            // The thread that brings the handoffs goes on with the next; backends are the pool's.
            await Task.Yield();
            session.Worker = await _workers.EnterAsync(session.Cancelled).ConfigureAwait(false);
            // The pool may have been so full that the turn came when the stream was over.
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

        // Not in a method of its own, which would be an object for each stream.
        if (TryConclude(session, result, ErrorResponse.For(result)))
            Report(session, result, await session.Client.Ended.ConfigureAwait(false));
    }

    private async Task ConcludeAsync(
        StreamSession session, BackendResult result, ErrorResponse? refusal = null)
    {
        if (TryConclude(session, result, refusal ?? ErrorResponse.For(result)))
            Report(session, result, await session.Client.Ended.ConfigureAwait(false));
    }

    /// <summary>The one end of each stream: what the client is told, and what is given back.</summary>
    /// <returns>False if it had its end already.</returns>
    private bool TryConclude(StreamSession session, BackendResult result, ErrorResponse? end)
    {
        if (!session.TryConclude())
        {
            // It may have been given its worker after the other looked for one.
            session.Worker?.Dispose();
            return false;
        }

        // Before the end is sent: whoever has read it may ask again at once. That the client still reads what
        // was sent costs no upstream, and is no stream of its user's any more.
        session.Permit.Dispose();
        Finish(session, result, end);
        _watchdog.Remove(session);
        session.Worker?.Dispose();
        return true;
    }

    /// <summary>What is said of it, once the client has all of it or is gone.</summary>
    private void Report(StreamSession session, BackendResult result, ClientEnd end)
    {
        var report = new StreamReport(session.Request, session.Client, session.Backend,
            Combine(result.Outcome, end), result, session.Events, session.TimeToFirstToken, session.Status);
        _accessLog.Write(report);
        _metrics.OnStreamEnded(report);
    }

    /// <summary>Retries end when the head must leave: until then a failure can still be a status.</summary>
    private TimeSpan RetryWindow(StreamSession session) => session.HeadSent
        ? RetryWindowAfterHead
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
        var mend = session.Backend.TimeoutHint;
        return new BackendResult(outcome, mend is null ? NoToken : $"{NoToken}; {mend}")
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

    /// <summary>What the backend said and what the loop saw, in one word: the first that went
    /// wrong.</summary>
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
