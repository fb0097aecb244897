using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Takes each client from the loop to its backend and to its end: reads the handoff, chooses the backend,
/// runs the stream, says what became of it. Exactly one outcome for every client.
/// </summary>
internal sealed partial class HandoffDispatcher : IHandoffHandler
{
    /// <summary>How long retries may take where the head is out already: no status can be saved any more,
    /// and the person in front of the browser waits.</summary>
    private static readonly TimeSpan RetryWindowAfterHead = TimeSpan.FromSeconds(1);

    private readonly DaemonOptions _options;
    private readonly BackendRegistry _backends;
    private readonly StreamWatchdog _watchdog;
    private readonly UserLimits _limits;
    private readonly WorkerSlots _workers;
    private readonly StreamMetrics _metrics;
    private readonly AccessLog _accessLog;
    private readonly ILogger _logger;

    public HandoffDispatcher(DaemonOptions options, BackendRegistry backends, StreamWatchdog watchdog,
        UserLimits limits, WorkerSlots workers, StreamMetrics metrics, AccessLog accessLog,
        ILogger<HandoffDispatcher> logger)
    {
        _options = options;
        _backends = backends;
        _watchdog = watchdog;
        _limits = limits;
        _workers = workers;
        _metrics = metrics;
        _accessLog = accessLog;
        _logger = logger;
        // Its sink takes nothing any more once the session is finished, so the backend may be left behind.
        watchdog.Abandoned = session => _ = ConcludeAsync(session, Cancelled(session));
    }

    public Task HandleAsync(ClientStream client)
    {
        _metrics.OnHandoff(client.AcceptedTimestamp);
        var readable = HandoffRequestReader.TryRead(client.HandoffData, out var request);
        client.ReleaseHandoffData();
        if (request.Unusable.Count > 0)
            LogUnusable(_logger, string.Join(", ", request.Unusable), request.RequestId);
        var session = new StreamSession(client, request, BackendFor(request), _metrics);
        return Refusal(session, readable) is { } refusal
            ? ConcludeAsync(session, new BackendResult(refusal.Outcome, refusal.End.Message), refusal.End)
            : StreamAsync(session);
    }

    public void OnFault(ClientStream client, Exception exception)
    {
        _metrics.OnFault();
        LogFault(_logger, exception);
    }

    public void OnRejected(HandoffRejection reason)
    {
        _metrics.OnRejected(reason switch
        {
            HandoffRejection.ClientGone => StreamOutcome.ClientGone,
            HandoffRejection.ServerStopped => StreamOutcome.Drained,
            _ => StreamOutcome.BadHandoff,
        });
        // A browser that gave up while PHP was at work is every day's business.
        if (reason == HandoffRejection.ClientGone)
            LogClientGone(_logger);
        else if (reason == HandoffRejection.DescriptorsTruncated)
            LogCutOff(_logger, reason);
        else
            LogRejected(_logger, reason);
    }

    private IStreamingBackend BackendFor(HandoffRequest request)
    {
        if (request.Backend is { } name && !_backends.TryGet(name, out _))
            LogUnknownBackend(_logger, AccessLog.Printable(name), _backends.Default.Name, request.RequestId);
        return _backends.Resolve(request.Backend);
    }

    /// <summary>Why a client is not served, and what it is told; null for one that is.</summary>
    private (StreamEnd End, StreamOutcome Outcome)? Refusal(StreamSession session, bool readable)
    {
        switch (session.Client.Admission)
        {
            case HandoffAdmission.OverCapacity:
                return (StreamEnd.OverCapacity, StreamOutcome.OverCapacity);
            case HandoffAdmission.TooLarge:
                return (StreamEnd.HandoffTooLarge, StreamOutcome.BadHandoff);
        }

        if (!readable)
            return (StreamEnd.MalformedHandoff, StreamOutcome.BadHandoff);
        if (session.Backend.RequiresPrompt && !session.Request.HasPrompt)
            return (StreamEnd.NoPrompt, StreamOutcome.BadHandoff);
        session.Permit = _limits.Enter(session.Request.HasUserId ? session.Request.UserId : null);
        return session.Permit.RetryAfterSeconds is { } seconds
            ? (StreamEnd.RateLimited(seconds), StreamOutcome.RateLimited)
            : null;
    }

    /// <summary>Runs the stream to the end that its backend comes to. Where the backend blocks this thread
    /// or does not come back, the watchdog ends the stream meanwhile.</summary>
    private async Task StreamAsync(StreamSession session)
    {
        BackendResult result;
        _watchdog.Add(session);
        try
        {
            if (_options.Streaming.HeadWaitMs == 0)
                session.EnsureHead();
            // The thread that brings the handoffs goes on with the next; backends are the pool's.
            await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
            session.Worker = await _workers.EnterAsync(session.Cancelled).ConfigureAwait(false);
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
            LogBackendFault(_logger, e, session.Backend.Name, session.Request.RequestId);
            result = new BackendResult(StreamOutcome.InternalError, e.GetType().Name);
        }

        await ConcludeAsync(session, result).ConfigureAwait(false);
    }

    /// <summary>The one end of each stream: what the client is told, what is given back, what is said of
    /// it.</summary>
    private async Task ConcludeAsync(StreamSession session, BackendResult result, StreamEnd? refusal = null)
    {
        if (!session.TryConclude())
            return;
        Finish(session, result, refusal ?? StreamEnd.For(result));
        _watchdog.Remove(session);
        session.Worker.Dispose();
        var end = await session.Client.Ended.ConfigureAwait(false);
        session.Permit.Dispose();
        var outcome = Combine(result.Outcome, end);
        _accessLog.Write(session, outcome, result);
        _metrics.OnStreamEnded(session, outcome, result.Fault);
    }

    /// <summary>Retries end where the head must leave: until then a failure is still a status.</summary>
    private TimeSpan RetryWindow(StreamSession session) => session.HeadSent
        ? RetryWindowAfterHead
        : TimeSpan.FromMilliseconds(
            _options.Streaming.HeadWaitMs - (Environment.TickCount64 - session.StartedMs));

    private static BackendResult Cancelled(StreamSession session)
    {
        var outcome = session.CancelOutcome ?? StreamOutcome.ClientGone;
        if (outcome != StreamOutcome.UpstreamTimeout)
            return new BackendResult(outcome);
        return session.State == StreamState.Streaming
            ? new BackendResult(outcome, "the upstream fell silent") { Fault = UpstreamFault.IdleTimeout }
            : new BackendResult(outcome, "the upstream sent no token in time")
            {
                Fault = UpstreamFault.FirstTokenTimeout,
            };
    }

    private static void Finish(StreamSession session, BackendResult result, StreamEnd? error)
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

    [LoggerMessage(EventId = 10, Level = LogLevel.Warning, Message = "handoff dropped: {Reason}")]
    private static partial void LogRejected(ILogger logger, HandoffRejection reason);

    [LoggerMessage(EventId = 16, Level = LogLevel.Warning, Message =
        "of the handoff cannot be used, or not all of it: {Fields}; the rest is served, request {RequestId}")]
    private static partial void LogUnusable(ILogger logger, string fields, string requestId);

    [LoggerMessage(EventId = 15, Level = LogLevel.Warning, Message =
        "handoff dropped: {Reason}. The kernel did not give the client's socket to this process: a security "
        + "module (SELinux, AppArmor) denies it, or, with socket_type stream, its descriptors are used up")]
    private static partial void LogCutOff(ILogger logger, HandoffRejection reason);

    [LoggerMessage(EventId = 13, Level = LogLevel.Debug, Message = "the client left before its handoff")]
    private static partial void LogClientGone(ILogger logger);

    [LoggerMessage(EventId = 14, Level = LogLevel.Warning, Message =
        "the handoff asks for backend {Backend}, which is not configured: {Default} answers, "
        + "request {RequestId}")]
    private static partial void LogUnknownBackend(ILogger logger, string backend, string @default,
        string requestId);

    [LoggerMessage(EventId = 11, Level = LogLevel.Error, Message = "a stream failed in the daemon itself")]
    private static partial void LogFault(ILogger logger, Exception exception);

    [LoggerMessage(EventId = 12, Level = LogLevel.Error,
        Message = "backend {Backend} failed, request {RequestId}")]
    private static partial void LogBackendFault(ILogger logger, Exception exception, string backend,
        string requestId);
}
