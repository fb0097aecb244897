using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>
/// Serves each client that the loop hands over: reads the handoff, refuses it or chooses its backend and
/// format, and begins its stream. Every client has exactly one outcome.
/// </summary>
internal sealed class HandoffDispatcher : IHandoffHandler
{
    private readonly DaemonOptions _options;
    private readonly StreamFormat _format;
    private readonly BackendRegistry _backends;
    private readonly CallRunner _calls;
    private readonly IKeptAnswers _answers;
    private readonly StreamReporter _reporter;
    private readonly HandoffLog _log;
    private readonly bool _keepsUnknown;

    public HandoffDispatcher(DaemonOptions options, BackendRegistry backends, CallRunner calls,
        IKeptAnswers answers, StreamReporter reporter, HandoffLog log)
    {
        _options = options;
        _format = StreamFormats.TryGet(options.Streaming.Format, out var format)
            ? format
            : throw new ArgumentException($"no format is {options.Streaming.Format}", nameof(options));
        _backends = backends;
        _calls = calls;
        _answers = answers;
        _reporter = reporter;
        _log = log;
        _keepsUnknown = backends.Names.Any(name => backends.Resolve(name).PassesUnknownParameters);
    }

    public Task HandleAsync(ClientStream client)
    {
        HandoffRequest? request = null;
        StreamSession? session = null;
        try
        {
            _reporter.Metrics.OnHandoff(client);
            var readable = HandoffRequestReader.TryRead(client.HandoffData, out request,
                withPrompt: client.Admission == HandoffAdmission.Admitted, _keepsUnknown);
            client.ReleaseHandoffData();
            request.Client = client;
            if (request.Unusable.Count > 0)
                _log.Unusable(request.Unusable, request.RequestId);
            session = new StreamSession(client, request, BackendFor(request), FormatFor(request), _reporter);
            request.Wanted = session.Format.Wanted(request.Events ?? _options.Streaming.Events);
            if (request.Unknown.Count > 0 && !session.Backend.PassesUnknownParameters)
                _log.UnknownFields(request.Unknown, request.RequestId);
            client.ExpectBytesPerStream(session.Backend.BytesPerStream);
            if (Refusal(session, readable) is { } refusal)
                return Refuse(session, refusal.Outcome, refusal.End);
            if (_answers.TryHandle(session) is { } handled)
                return handled;
            return _calls.Admit(session) is { } limited
                ? Refuse(session, StreamOutcome.RateLimited, limited)
                : _calls.RunAsync(session);
        }
        catch (Exception e)
        {
            // A bug in the daemon, before anything was sent. The client gets an error and the access log a
            // line, as for any stream that fails.
            _log.Fault(e);
            request ??= new HandoffRequest();
            session ??= new StreamSession(
                client, request, _backends.Default, FormatFor(request), _reporter);
            return _calls.ConcludeAsync(session, CallRunner.FaultOf(e));
        }
    }

    public void OnFault(ClientStream client, Exception exception)
    {
        try
        {
            _reporter.Metrics.OnFault();
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
            _reporter.Metrics.OnRejected(reason switch
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

    /// <summary>The stream's format. If the handoff names an unknown one, it is the default format.</summary>
    private StreamFormat FormatFor(HandoffRequest request) =>
        request.Format is { } name && StreamFormats.TryGet(name, out var format) ? format : _format;

    private Task Refuse(StreamSession session, StreamOutcome outcome, ErrorResponse error) =>
        _calls.ConcludeAsync(session, new BackendResult(outcome, error.Message), error);

    /// <summary>Why a client is refused, and the response it gets; null if it is served.</summary>
    private static (ErrorResponse End, StreamOutcome Outcome)? Refusal(StreamSession session, bool readable)
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

        var request = session.Request;
        if (session.Client.DataProblem is { } problem)
        {
            return (ErrorResponse.UnreadableHandoff(problem),
                session.Client.IsGone ? StreamOutcome.ClientGone : StreamOutcome.BadHandoff);
        }

        if (!readable)
            return (ErrorResponse.MalformedHandoff, StreamOutcome.BadHandoff);
        if (request.Format is { } format && !StreamFormats.TryGet(format, out _))
            return (ErrorResponse.UnknownFormat, StreamOutcome.BadHandoff);
        if (session.Backend.RequiresPrompt && !request.HasPrompt && !request.NamesAnswer)
        {
            return (request.IsEmpty
                    ? ErrorResponse.EmptyHandoff
                    : ErrorResponse.NoUsablePrompt(request.Unusable),
                StreamOutcome.BadHandoff);
        }

        return null;
    }
}
