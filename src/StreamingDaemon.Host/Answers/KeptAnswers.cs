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
    /// <summary>How often an answer that another daemon makes is looked for.</summary>
    private const int MostTries = 3;

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
        if (Attach(session, answer!, after: 0, out var reader) == AttachResult.Gone)
            return NotFoundAsync(session);
        reports.Count(isNew ? AnswerEvent.Kept : AnswerEvent.Joined);
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
        var claim = SharedClaim.Taken;
        // An answer that another daemon makes may end, or its daemon may die, between the two questions.
        for (var tries = 0; store.Find(key) is null && tries < MostTries; tries++)
        {
            claim = await others.ClaimAsync(key, owner).ConfigureAwait(false);
            if (claim != SharedClaim.Taken)
                break;
            if (store.Find(key) is not null)
                continue;
            var (attached, joined) = await FollowAsync(session, key, after: 0).ConfigureAwait(false);
            if (joined is null && attached is not (AttachResult.NoRoom or AttachResult.Unavailable))
                continue;
            session.Use = AnswerUse.Joined;
            if (joined is null)
            {
                await RefuseAsync(session, key, attached).ConfigureAwait(false);
                return;
            }

            reports.Count(AnswerEvent.Joined);
            request.ReleasePrompt();
            await joined.RunAsync().ConfigureAwait(false);
            return;
        }

        if (claim == SharedClaim.Taken && store.Find(key) is null)
            claim = SharedClaim.Unavailable;
        if (claim == SharedClaim.Gone)
        {
            session.Use = AnswerUse.Joined;
            await NotFoundAsync(session).ConfigureAwait(false);
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

    /// <summary>Makes the client a reader of another daemon's answer.</summary>
    /// <returns>No reader if there is no such answer, or the client has all of it.</returns>
    private async Task<(AttachResult, AnswerReader?)> FollowAsync(
        StreamSession session, AnswerKey key, int after)
    {
        for (var tries = 0; tries < MostTries; tries++)
        {
            var (result, answer) = await shared!.FollowAsync(key).ConfigureAwait(false);
            if (answer is null)
            {
                return (result switch
                {
                    FollowResult.NoRoom => AttachResult.NoRoom,
                    FollowResult.Unavailable => AttachResult.Unavailable,
                    _ => AttachResult.Gone,
                }, null);
            }

            var attached = Attach(session, answer, after, out var reader);
            // Gone: just now this daemon has stopped following it, because nobody read it here.
            if (attached != AttachResult.Gone)
                return (attached, attached == AttachResult.Attached ? reader : null);
        }

        return (AttachResult.Gone, null);
    }

    private Task ServePlainAsync(StreamSession session) => calls.Admit(session) is { } refusal
        ? calls.ConcludeAsync(
            session, new BackendResult(StreamOutcome.RateLimited, refusal.Message), refusal)
        : calls.RunAsync(session);

    private async Task ResumeAsync(StreamSession session, AnswerKey key)
    {
        session.Use = AnswerUse.Resumed;
        var after = session.Request.LastEventId;
        AnswerReader? reader = null;
        var attached = AttachResult.Gone;
        if (store.Find(key) is { } answer)
            attached = Attach(session, answer, after, out reader);
        else if (shared is not null)
            (attached, reader) = await FollowAsync(session, key, after).ConfigureAwait(false);
        if (attached is not (AttachResult.Attached or AttachResult.HasAll))
        {
            await RefuseAsync(session, key, attached).ConfigureAwait(false);
            return;
        }

        reports.Count(AnswerEvent.Resumed);
        if (attached == AttachResult.Attached)
            await reader!.RunAsync().ConfigureAwait(false);
        else
            // WHATWG HTML, section 9.2.2: at a 204 an EventSource stops to reconnect.
            await RespondAsync(session, 204, "").ConfigureAwait(false);
    }

    private async Task StopAsync(StreamSession session, AnswerKey key)
    {
        session.Use = AnswerUse.Stop;
        var stop = SharedStop.None;
        if (store.Find(key) is { } answer)
            stop = Stop(answer);
        else if (shared is not null)
            stop = await shared.StopAsync(key).ConfigureAwait(false);
        if (stop is SharedStop.None or SharedStop.Unavailable)
        {
            await RefuseAsync(session, key,
                stop == SharedStop.None ? AttachResult.Gone : AttachResult.Unavailable).ConfigureAwait(false);
            return;
        }

        var isStopped = stop is SharedStop.Told or SharedStop.Stopped;
        if (isStopped)
            reports.Count(AnswerEvent.Stopped);
        await RespondAsync(
            session, 200, $"{{\"stopped\":{(isStopped ? "true" : "false")},\"request_id\":\"{key.Id}\"}}\n")
            .ConfigureAwait(false);
    }

    /// <remarks>Who stops it a second time, in another tab or because a request is repeated, gets the same
    /// answer.</remarks>
    private static SharedStop Stop(KeptAnswer answer)
    {
        if (answer.Cancel?.Invoke(StreamOutcome.Stopped) == true)
            return SharedStop.Told;
        return answer.End?.Result.Outcome == StreamOutcome.Stopped ? SharedStop.Stopped : SharedStop.Ended;
    }

    private static AttachResult Attach(
        StreamSession session, KeptAnswer answer, int after, out AnswerReader reader)
    {
        var request = session.Request;
        var headers = request.ResponseHeaders;
        byte[] id = [.. Encoding.ASCII.GetBytes($"X-Answer-Id: {answer.Key.Id}\r\n")];
        request.ResponseHeaders = (byte[])[.. headers.Span, .. id];
        reader = new AnswerReader(session, answer);
        var result = answer.Attach(reader, after);
        if (result == AttachResult.Gone)
            request.ResponseHeaders = headers;
        return result;
    }

    private Task NotFoundAsync(StreamSession session)
    {
        reports.Count(AnswerEvent.NotFound);
        return RefuseAsync(session, ErrorResponse.AnswerNotFound);
    }

    private Task RefuseAsync(StreamSession session, AnswerKey key, AttachResult reason)
    {
        if (reason == AttachResult.Gone)
            return NotFoundAsync(session);
        if (reason == AttachResult.NoRoom)
            reports.NotKept(key);
        // It is there, or may be when the store answers again: a page must not give it up.
        return RefuseAsync(session, ErrorResponse.AnswersUnavailable);
    }

    private Task RefuseAsync(StreamSession session, ErrorResponse error) => calls.ConcludeAsync(
        session, new BackendResult(StreamOutcome.AnswerNotFound, error.Message), error);

    private static async Task RespondAsync(StreamSession session, int status, string body)
    {
        session.FinishWithResponse(status, body);
        session.Report(BackendResult.Completed, await session.Client.Ended.ConfigureAwait(false));
    }
}
