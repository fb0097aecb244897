using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Takes each client from the loop to its backend and to its end: reads the handoff, chooses the backend,
/// runs the stream, says what became of it. Exactly one outcome for every client.
/// </summary>
internal sealed partial class HandoffDispatcher(
    DaemonOptions options, BackendRegistry backends, StreamWatchdog watchdog, UserLimits limits,
    WorkerSlots workers, StreamMetrics metrics, AccessLog accessLog, ILogger<HandoffDispatcher> logger)
    : IHandoffHandler
{
    /// <summary>How long a backend may take to notice that its call was cancelled.</summary>
    private static readonly TimeSpan CancelPatience = TimeSpan.FromSeconds(1);

    /// <summary>How long retries may take where the head is out already: no status can be saved any more,
    /// and the person in front of the browser waits.</summary>
    private static readonly TimeSpan RetryWindowAfterHead = TimeSpan.FromSeconds(1);

    private readonly ILogger _logger = logger;

    public async Task HandleAsync(ClientStream client)
    {
        metrics.OnHandoff(client.AcceptedTimestamp);
        var readable = HandoffRequestReader.TryRead(client.HandoffData.Span, out var request);
        client.ReleaseHandoffData();
        var backend = BackendFor(request);

        using var session = new StreamSession(client, request, metrics);
        var refusal = Refusal(client, backend, request, readable);
        using var permit = refusal is null ? limits.Enter(request.UserId) : default;
        if (permit.RetryAfterSeconds is { } seconds)
            refusal = (StreamEnd.RateLimited(seconds), StreamOutcome.RateLimited);
        var result = refusal is { } refused
            ? Refuse(session, refused.End, refused.Outcome)
            : await StreamAsync(session, backend).ConfigureAwait(false);

        var end = await client.Ended.ConfigureAwait(false);
        var outcome = Combine(result.Outcome, end);
        accessLog.Write(session, backend, outcome, result, client);
        metrics.OnStreamEnded(session, backend.Name, outcome, result.Fault, client.AcceptedTimestamp);
    }

    public void OnFault(ClientStream client, Exception exception)
    {
        metrics.OnFault();
        LogFault(_logger, exception);
    }

    public void OnRejected(HandoffRejection reason)
    {
        metrics.OnRejected(reason switch
        {
            HandoffRejection.ClientGone => StreamOutcome.ClientGone,
            HandoffRejection.ServerStopped => StreamOutcome.Drained,
            _ => StreamOutcome.BadHandoff,
        });
        // A browser that gave up while PHP was at work is every day's business.
        if (reason == HandoffRejection.ClientGone)
            LogClientGone(_logger);
        else
            LogRejected(_logger, reason);
    }

    private IStreamingBackend BackendFor(HandoffRequest request)
    {
        if (request.Backend is { } name && !backends.TryGet(name, out _))
            LogUnknownBackend(_logger, AccessLog.Printable(name), backends.Default.Name, request.RequestId);
        return backends.Resolve(request.Backend);
    }

    private static (StreamEnd End, StreamOutcome Outcome)? Refusal(ClientStream client,
        IStreamingBackend backend, HandoffRequest request, bool readable) => client.Admission switch
        {
            HandoffAdmission.OverCapacity => (StreamEnd.OverCapacity, StreamOutcome.OverCapacity),
            HandoffAdmission.TooLarge => (StreamEnd.HandoffTooLarge, StreamOutcome.BadHandoff),
            _ when !readable => (StreamEnd.MalformedHandoff, StreamOutcome.BadHandoff),
            _ when backend.RequiresPrompt && !request.HasPrompt =>
                (StreamEnd.NoPrompt, StreamOutcome.BadHandoff),
            _ => null,
        };

    private static BackendResult Refuse(StreamSession session, StreamEnd end, StreamOutcome outcome)
    {
        session.FinishWithError(end);
        return new BackendResult(outcome, end.Message);
    }

    private async Task<BackendResult> StreamAsync(StreamSession session, IStreamingBackend backend)
    {
        watchdog.Add(session);
        try
        {
            if (options.Streaming.HeadWaitMs == 0)
                session.EnsureHead();
            var result = await CallBackendAsync(session, backend).ConfigureAwait(false);
            Finish(session, result);
            return result;
        }
        finally
        {
            watchdog.Remove(session);
        }
    }

    private async Task<BackendResult> CallBackendAsync(StreamSession session, IStreamingBackend backend)
    {
        try
        {
            using var slot = await workers.EnterAsync(session.Cancelled).ConfigureAwait(false);
            session.MarkPending();
            var request = session.Request.ToStreamRequest(RetryWindow(session));
            // On a thread of the pool of its own: a backend that blocks holds that, and not its client's end.
            var call = Task.Run(() => backend.StreamAsync(request, session, session.Cancelled));
            return await GuardAsync(call, session).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (session.CancelOutcome is not null)
        {
            return Cancelled(session, session.CancelOutcome.Value);
        }
        catch (Exception e)
        {
            LogBackendFault(_logger, e, backend.Name, session.Request.RequestId);
            return new BackendResult(StreamOutcome.InternalError, e.GetType().Name);
        }
    }

    /// <summary>Retries end where the head must leave: until then a failure is still a status.</summary>
    private TimeSpan RetryWindow(StreamSession session) => session.HeadSent
        ? RetryWindowAfterHead
        : TimeSpan.FromMilliseconds(
            options.Streaming.HeadWaitMs - (Environment.TickCount64 - session.StartedMs));

    private static BackendResult Cancelled(StreamSession session, StreamOutcome outcome)
    {
        if (outcome != StreamOutcome.UpstreamTimeout)
            return new BackendResult(outcome);
        return session.State == StreamState.Streaming
            ? new BackendResult(outcome, "the upstream fell silent") { Fault = UpstreamFault.IdleTimeout }
            : new BackendResult(outcome, "the upstream sent no token in time")
            {
                Fault = UpstreamFault.FirstTokenTimeout,
            };
    }

    /// <summary>Waits for the backend, but once the stream is cancelled not for long: some awaits ignore
    /// their token.</summary>
    private static async Task<BackendResult> GuardAsync(Task<BackendResult> call, StreamSession session)
    {
        try
        {
            return await call.WaitAsync(session.Cancelled).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!call.IsCompleted)
        {
            // Its sink takes nothing any more once the session is finished, so it may be left behind.
            await Task.WhenAny(call, Task.Delay(CancelPatience)).ConfigureAwait(false);
            _ = call.ContinueWith(static c => _ = c.Exception, TaskContinuationOptions.OnlyOnFaulted);
            throw;
        }
    }

    private static void Finish(StreamSession session, BackendResult result)
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
                if (StreamEnd.For(result) is { } end)
                    session.FinishWithError(end);
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
