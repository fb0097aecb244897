using System.Collections.Concurrent;
using System.Globalization;
using StackExchange.Redis;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>Answers in Redis, one stream each: <c>answers.store = "redis"</c>.</summary>
internal sealed class RedisAnswers : ISharedAnswers, IAsyncDisposable
{
    /// <summary>An owner that writes nothing for this long is dead.</summary>
    public const int LeaseMs = 6_000;

    private const int EntriesPerRead = 64;

    /// <summary>For followers, after an answer failed with nothing to show.</summary>
    private const int EmptyMs = 5_000;

    /// <summary>A daemon hears within a second that its answer is to stop.</summary>
    private const int StopPatienceMs = 2_500;

    private static readonly TimeSpan s_stopPause = TimeSpan.FromMilliseconds(50);

    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(250);

    private readonly ReloadableOptions _options;
    private readonly AnswerStore _store;
    private readonly AnswerReports _reports;
    private readonly RedisConnection _redis;
    private readonly ConcurrentDictionary<AnswerKey, AnswerFollower> _followed = new();
    private readonly ConcurrentDictionary<AnswerFollower, bool> _followers = new();
    private readonly ConcurrentDictionary<Task, bool> _mirrors = new();

    public RedisAnswers(ReloadableOptions options, AnswerStore store, AnswerReports reports)
    {
        _options = options;
        _store = store;
        _reports = reports;
        _redis = new RedisConnection(options.Current.Answers, reports);
        reports.ObserveShared(() => Health == SharedHealth.Ok);
    }

    public SharedHealth Health => _redis.Health;

    public string? Problem => _redis.Problem;

    private int KeepMs => _options.Current.Answers.KeepS * 1000;

    public async Task<SharedClaim> ClaimAsync(AnswerKey key, string owner)
    {
        var isSent = _redis.IsUp;
        var claim = await ClaimAsync(key, owner, isAgain: false).ConfigureAwait(false);
        // Redis may do it later all the same, and then nobody makes the answer.
        if (claim == SharedClaim.Unavailable && isSent && !_redis.IsUp)
            _ = ReleaseLaterAsync(key, owner);
        return claim;
    }

    private async Task ReleaseLaterAsync(AnswerKey key, string owner)
    {
        var began = Environment.TickCount64;
        RedisResult? released = null;
        while (released is null && Environment.TickCount64 - began < 2 * LeaseMs)
        {
            await Task.Delay(s_retry).ConfigureAwait(false);
            released = await _redis.RunAsync(RedisScripts.Release, Keys(key), [owner]).ConfigureAwait(false);
        }
    }

    private async Task<SharedClaim> ClaimAsync(AnswerKey key, string owner, bool isAgain)
    {
        RedisValue[] values = [owner, LeaseMs, isAgain];
        return await _redis.RunAsync(RedisScripts.Claim, Keys(key), values).ConfigureAwait(false)
            is not { } claimed ? SharedClaim.Unavailable
            : (int)claimed switch
            {
                1 => SharedClaim.Claimed,
                2 => SharedClaim.Gone,
                _ => SharedClaim.Taken,
            };
    }

    /// <summary>Takes the name of an answer again that Redis has forgotten. All its events must be written
    /// again then.</summary>
    /// <returns>False if another daemon was first.</returns>
    public async Task<bool> ReclaimAsync(AnswerKey key, string owner)
    {
        if (await ClaimAsync(key, owner, isAgain: true).ConfigureAwait(false) == SharedClaim.Claimed)
            return true;
        _reports.Unshared(key);
        return false;
    }

    public async Task ReleaseAsync(AnswerKey key, string owner) =>
        _ = await _redis.RunAsync(RedisScripts.Release, Keys(key), [owner]).ConfigureAwait(false);

    /// <summary>The answer is no longer kept; nobody may take its name for another one.</summary>
    public async Task GiveUpAsync(AnswerKey key, string owner) =>
        _ = await _redis.RunAsync(RedisScripts.GiveUp, Keys(key), [owner, KeepMs]).ConfigureAwait(false);

    public void Mirror(KeptAnswer answer, string owner)
    {
        var mirror = new AnswerMirror(answer, this, owner);
        answer.BeginMirror(mirror.Signal);
        answer.TellFailure = mirror.FailAsync;
        var running = mirror.RunAsync();
        _mirrors[running] = true;
        _ = running.ContinueWith(ended => _mirrors.TryRemove(ended, out _), TaskScheduler.Default);
    }

    public async Task<(FollowResult Result, KeptAnswer? Answer)> FollowAsync(AnswerKey key)
    {
        // All readers of an answer share what this daemon reads of it, and its load on Redis.
        if (!_followed.TryGetValue(key, out var follower) || !follower.IsOpen)
        {
            var mine = new AnswerFollower(key, this, _store, _reports);
            follower = _followed.AddOrUpdate(key, mine, (_, there) => there.IsOpen ? there : mine);
            if (follower == mine)
                _ = RunAsync(key, mine);
        }

        var result = await follower.LoadedAsync().ConfigureAwait(false);
        return (result, result == FollowResult.Found ? follower.Answer : null);
    }

    public async Task<SharedStop> StopAsync(AnswerKey key)
    {
        var began = Environment.TickCount64;
        var stop = await AskToStopAsync(key).ConfigureAwait(false);
        while (stop == SharedStop.Told && Environment.TickCount64 - began < StopPatienceMs)
        {
            await Task.Delay(s_stopPause).ConfigureAwait(false);
            var now = await AskToStopAsync(key).ConfigureAwait(false);
            // If Redis is gone by now, its daemon is told all the same.
            stop = now == SharedStop.Unavailable ? stop : now;
        }

        return stop;
    }

    private async Task<SharedStop> AskToStopAsync(AnswerKey key)
    {
        var keys = Keys(key);
        return await _redis.RunAsync(RedisScripts.Stop, [keys[0], keys[1], keys[2]], [])
            .ConfigureAwait(false) is not { } state ? SharedStop.Unavailable
            : (int)state switch
            {
                2 => SharedStop.Stopped,
                1 => SharedStop.Told,
                0 => SharedStop.Ended,
                _ => SharedStop.None,
            };
    }

    public void EndFollowers()
    {
        foreach (var follower in _followers.Keys)
            follower.End(StreamOutcome.Drained, ErrorResponse.For(new BackendResult(StreamOutcome.Drained))!);
    }

    public Task ReadyAsync(TimeSpan patience) => _redis.ReadyAsync(patience);

    public Task IdleAsync() => Task.WhenAll(_mirrors.Keys);

    public ValueTask DisposeAsync() => _redis.DisposeAsync();

    /// <summary>Writes events, and renews the lease. While Redis is gone, it tries again until the lease must
    /// be over.</summary>
    /// <param name="key">The answer.</param>
    /// <param name="owner">The claim.</param>
    /// <param name="before">Id of the last event that was written; 0 if none was.</param>
    /// <param name="last">Id of the last event of these.</param>
    /// <param name="events">Whole events; empty to renew only.</param>
    public Task<MirrorState> AppendAsync(
        AnswerKey key, string owner, int before, int last, byte[] events) => TryAsync(
        RedisScripts.Append, key,
        [owner, LeaseMs, KeepMs + LeaseMs, EntryId(last, events), events, before]);

    /// <summary>Writes the last events and the end.</summary>
    /// <param name="key">The answer.</param>
    /// <param name="owner">The claim.</param>
    /// <param name="before">Id of the last event that was written; 0 if none was.</param>
    /// <param name="last">Id of the last event.</param>
    /// <param name="events">Whole events, or none.</param>
    /// <param name="end">How it ended.</param>
    public Task<MirrorState> EndAsync(
        AnswerKey key, string owner, int before, int last, byte[] events, AnswerEnd end) => TryAsync(
        RedisScripts.End, key,
        [
            owner, KeepMs, EntryId(last, 1), SharedEnd.Write(end), "", EntryId(last, events), events, before,
        ]);

    /// <summary>Writes the end of an answer that failed with nothing to show: its name is free from now on.
    /// </summary>
    /// <param name="key">The answer.</param>
    /// <param name="owner">The claim.</param>
    /// <param name="end">How it failed.</param>
    /// <param name="error">The only event.</param>
    public Task<MirrorState> FailAsync(AnswerKey key, string owner, AnswerEnd end, byte[] error) => TryAsync(
        RedisScripts.End, key, [owner, EmptyMs, EntryId(1, 1), SharedEnd.Write(end), error, "", "", 0]);

    /// <summary>Reads the next entries; null if Redis does not answer.</summary>
    /// <param name="key">The answer.</param>
    /// <param name="from">The first entry.</param>
    /// <param name="readMs">For how long this daemon says that it has readers; 0: it says nothing.</param>
    public async Task<SharedPage?> ReadAsync(AnswerKey key, string from, int readMs)
    {
        var keys = Keys(key);
        if (await _redis.RunAsync(
            RedisScripts.Read, [keys[0], keys[1], keys[3]], [from, EntriesPerRead, readMs])
            .ConfigureAwait(false) is not { } result)
        {
            return null;
        }

        return SharedPage.Read(result);
    }

    private async Task RunAsync(AnswerKey key, AnswerFollower follower)
    {
        _followers[follower] = true;
        await follower.RunAsync().ConfigureAwait(false);
        _followers.TryRemove(follower, out _);
        _followed.TryRemove(KeyValuePair.Create(key, follower));
    }

    private async Task<MirrorState> TryAsync(string script, AnswerKey key, RedisValue[] values)
    {
        var began = Environment.TickCount64;
        while (true)
        {
            if (await _redis.RunAsync(script, Keys(key), values).ConfigureAwait(false) is { } result)
            {
                var state = (MirrorState)(int)result;
                if (state == MirrorState.Lost)
                    _reports.Unshared(key);
                return state;
            }

            if (Environment.TickCount64 - began > LeaseMs)
            {
                _reports.Unshared(key);
                return MirrorState.Lost;
            }

            await Task.Delay(s_retry).ConfigureAwait(false);
        }
    }

    private static string EntryId(int last, byte[] events) => events.Length == 0 ? "" : EntryId(last, 0);

    private static string EntryId(int last, int part) =>
        string.Create(CultureInfo.InvariantCulture, $"{last}-{part}");

    /// <summary>Lease, events, stop, read. The braces put them into one hash slot of a cluster.</summary>
    private static RedisKey[] Keys(AnswerKey key)
    {
        var user = key.User.IsNone ? "-" : "u" + Uri.EscapeDataString(key.User.ToString());
        // A brace would end the hash tag. No two ids become one.
        var id = key.Id.Replace("%", "%25", StringComparison.Ordinal)
            .Replace("}", "%7D", StringComparison.Ordinal);
        var name = $"streaming-daemon:{{{user}:{id}}}";
        return [name + ":lease", name + ":events", name + ":stop", name + ":read"];
    }
}
