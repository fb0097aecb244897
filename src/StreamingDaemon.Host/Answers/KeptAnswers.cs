using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Answers.Shared;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Answers;

/// <summary>Serves the handoffs about kept answers: one that keeps its answer, joins one, resumes one, or
/// stops one.</summary>
internal sealed class KeptAnswers(
    ReloadableOptions options, AnswerStore store, CallRunner calls, AnswerReports reports,
    ISharedAnswers? shared = null) : IKeptAnswers
{
    public Task? TryHandle(StreamSession session)
    {
        var request = session.Request;
        if (request.Stop is { } stop)
            return StopAsync(session, new AnswerKey(request.UserId, stop));
        if (request.Resume is { } resume)
            return ResumeAsync(session, new AnswerKey(request.UserId, resume));
        if (!(request.Keep ?? options.Current.Answers.Keep))
            return null;
        if (!request.HasRequestId)
            request.RequestId = RequestId.Unguessable();
        return shared is null ? KeepOrJoin(session, owner: null) : KeepSharedAsync(session, shared);
    }

    /// <summary>Begins the answer, or joins it if it is there: a double click is paid once.</summary>
    /// <returns>Null if it cannot be kept.</returns>
    private Task? KeepOrJoin(StreamSession session, string? owner)
    {
        var request = session.Request;
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
        {
            if (owner is not null)
                shared!.Mirror(answer!, owner);
            _ = calls.RunAsync(call!);
        }
        else
        {
            request.ReleasePrompt();
        }

        return reader.RunAsync();
    }

    /// <summary>Begins the answer, unless it is there on this daemon or another one.</summary>
    private async Task KeepSharedAsync(StreamSession session, ISharedAnswers others)
    {
        var request = session.Request;
        var key = new AnswerKey(request.UserId, request.RequestId);
        var owner = Guid.NewGuid().ToString("N");
        var claim = store.Find(key) is null
            ? await others.ClaimAsync(key, owner).ConfigureAwait(false)
            : SharedClaim.Taken;
        if (claim == SharedClaim.Taken && store.Find(key) is null
            && await others.FollowAsync(key).ConfigureAwait(false) is { } followed)
        {
            session.Use = AnswerUse.Joined;
            reports.Count(AnswerEvent.Joined);
            request.ReleasePrompt();
            await Attach(session, followed, after: 0)!.RunAsync().ConfigureAwait(false);
            return;
        }

        Task? served = null;
        if (claim == SharedClaim.Unavailable)
            reports.Unshared(key);
        else
            served = KeepOrJoin(session, claim == SharedClaim.Claimed ? owner : null);
        if (claim == SharedClaim.Claimed && session.Use != AnswerUse.Kept)
            await others.ReleaseAsync(key, owner).ConfigureAwait(false);
        await (served ?? ServePlainAsync(session)).ConfigureAwait(false);
    }

    private Task ServePlainAsync(StreamSession session) => calls.Admit(session) is { } refusal
        ? calls.ConcludeAsync(
            session, new BackendResult(StreamOutcome.RateLimited, refusal.Message), refusal)
        : calls.RunAsync(session);

    private async Task ResumeAsync(StreamSession session, AnswerKey key)
    {
        session.Use = AnswerUse.Resumed;
        var answer = store.Find(key);
        if (answer is null && shared is not null)
            answer = await shared.FollowAsync(key).ConfigureAwait(false);
        if (answer is null)
        {
            await NotFoundAsync(session).ConfigureAwait(false);
            return;
        }

        reports.Count(AnswerEvent.Resumed);
        if (Attach(session, answer, session.Request.LastEventId) is { } reader)
            await reader.RunAsync().ConfigureAwait(false);
        else
            // WHATWG HTML, section 9.2.2: at a 204 an EventSource stops to reconnect.
            await RespondAsync(session, 204, "").ConfigureAwait(false);
    }

    private async Task StopAsync(StreamSession session, AnswerKey key)
    {
        session.Use = AnswerUse.Stop;
        bool? isRunning = null;
        if (store.Find(key) is { } answer)
        {
            isRunning = answer.End is null;
            answer.Cancel?.Invoke(StreamOutcome.Stopped);
        }
        else if (shared is not null)
        {
            isRunning = await shared.StopAsync(key).ConfigureAwait(false);
        }

        if (isRunning is not { } was)
        {
            await NotFoundAsync(session).ConfigureAwait(false);
            return;
        }

        if (was)
            reports.Count(AnswerEvent.Stopped);
        await RespondAsync(
            session, 200, $"{{\"stopped\":{(was ? "true" : "false")},\"request_id\":\"{key.Id}\"}}\n")
            .ConfigureAwait(false);
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
        // It may be there when the store answers again: a page must not give it up.
        var error = shared is { IsUp: false } ? ErrorResponse.AnswersUnavailable
            : ErrorResponse.AnswerNotFound;
        return calls.ConcludeAsync(
            session, new BackendResult(StreamOutcome.AnswerNotFound, error.Message), error);
    }

    private static async Task RespondAsync(StreamSession session, int status, string body)
    {
        session.FinishWithResponse(status, body);
        session.Report(BackendResult.Completed, await session.Client.Ended.ConfigureAwait(false));
    }
}
