using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Answers;

/// <summary>Serves the handoffs about kept answers: one that keeps its answer, joins one, resumes one, or
/// stops one.</summary>
internal sealed class KeptAnswers(
    ReloadableOptions options, AnswerStore store, CallRunner calls, AnswerReports reports) : IKeptAnswers
{
    public Task? TryHandle(StreamSession session)
    {
        var request = session.Request;
        if (request.Stop is { } stop)
            return StopAsync(session, new AnswerKey(request.UserId, stop));
        if (request.Resume is { } resume)
            return ResumeAsync(session, new AnswerKey(request.UserId, resume));
        return request.Keep ?? options.Current.Answers.Keep ? KeepOrJoin(session) : null;
    }

    /// <summary>Begins the answer, or joins it if it is there: a double click is paid once.</summary>
    /// <returns>Null if it cannot be kept.</returns>
    private Task? KeepOrJoin(StreamSession session)
    {
        var request = session.Request;
        if (!request.HasRequestId)
            request.RequestId = RequestId.Unguessable();
        var key = new AnswerKey(request.UserId, request.RequestId);
        ErrorResponse? refusal = null;
        AnswerCall? call = null;
        var answer = store.GetOrAdd(key, () =>
        {
            call = new AnswerCall(session, key, store, reports);
            refusal = calls.Admit(call);
            return refusal is null ? call.Answer : null;
        }, out var isNew, out var isFull);
        if (isFull)
        {
            reports.NotKept(key);
            return null;
        }

        if (refusal is not null)
        {
            return calls.ConcludeAsync(
                session, new BackendResult(StreamOutcome.RateLimited, refusal.Message), refusal);
        }

        session.Use = isNew ? AnswerUse.Kept : AnswerUse.Joined;
        reports.Count(isNew ? AnswerEvent.Kept : AnswerEvent.Joined);
        var reader = Attach(session, answer!, after: 0)!;
        if (isNew)
            _ = calls.RunAsync(call!);
        else
            request.ReleasePrompt();
        return reader.RunAsync();
    }

    private Task ResumeAsync(StreamSession session, AnswerKey key)
    {
        session.Use = AnswerUse.Resumed;
        if (store.Find(key) is not { } answer)
            return NotFoundAsync(session);
        reports.Count(AnswerEvent.Resumed);
        return Attach(session, answer, session.Request.LastEventId) is { } reader
            ? reader.RunAsync()
            // WHATWG HTML, section 9.2.2: at a 204 an EventSource stops to reconnect.
            : RespondAsync(session, 204, "");
    }

    private Task StopAsync(StreamSession session, AnswerKey key)
    {
        session.Use = AnswerUse.Stop;
        if (store.Find(key) is not { } answer)
            return NotFoundAsync(session);
        var isRunning = answer.End is null;
        if (isRunning)
        {
            reports.Count(AnswerEvent.Stopped);
            answer.Cancel?.Invoke(StreamOutcome.Stopped);
        }

        return RespondAsync(
            session, 200, $"{{\"stopped\":{(isRunning ? "true" : "false")},\"request_id\":\"{key.Id}\"}}\n");
    }

    /// <returns>Null if the client has all of an answer that has ended.</returns>
    private static AnswerReader? Attach(StreamSession session, KeptAnswer answer, int after)
    {
        var request = session.Request;
        byte[] id = [.. Encoding.ASCII.GetBytes($"X-Answer-Id: {answer.Key.Id}\r\n")];
        request.ResponseHeaders = (byte[])[.. request.ResponseHeaders.Span, .. id];
        var reader = new AnswerReader(session, answer);
        return answer.TryAttach(reader, after) ? reader : null;
    }

    private Task NotFoundAsync(StreamSession session)
    {
        reports.Count(AnswerEvent.NotFound);
        return calls.ConcludeAsync(session,
            new BackendResult(StreamOutcome.AnswerNotFound, ErrorResponse.AnswerNotFound.Message),
            ErrorResponse.AnswerNotFound);
    }

    private static async Task RespondAsync(StreamSession session, int status, string body)
    {
        session.FinishWithResponse(status, body);
        session.Report(BackendResult.Completed, await session.Client.Ended.ConfigureAwait(false));
    }
}
