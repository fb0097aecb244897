using System.Diagnostics.CodeAnalysis;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>Reads an answer that another daemon writes into Redis, for all its readers of this one.</summary>
/// <remarks>What it holds counts in <c>answers.max_bytes</c>. If there is no room for more, it holds what its
/// readers have not read, and reads on when they have.</remarks>
internal sealed class AnswerFollower
{
    /// <summary>How often a running answer is looked at.</summary>
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(50);

    /// <summary>How often it says that it has readers (ms), and for how long that counts.</summary>
    private const int SayReadEveryMs = 1_000;
    private const int ReadMs = 3_000;

    /// <summary>An owner writes something each second.</summary>
    private const int ForgottenMs = 1_500;

    /// <summary>Without a reader for this long (ms), an answer is no longer followed.</summary>
    private const long OrphanedMs = 2_000;

    private static readonly AnswerEnd s_brokenOff = new(
        new BackendResult(StreamOutcome.UpstreamError), ErrorResponse.BrokenOff, IsLogged: false);

    /// <summary>How long an answer that has ended waits for its first reader (ms). One that comes later
    /// loads it again.</summary>
    private const int FirstReaderMs = 2000;

    private readonly RedisAnswers _redis;
    private readonly AnswerStore _store;
    private readonly AnswerReports _reports;
    private readonly Lazy<Task<FollowResult>> _loaded;
    private string? _owner;
    private string _next = "-";
    private int _events;
    private bool _hasEntries;
    private long _goneSinceMs;
    private long _nextSayMs;
    private long _forgottenSinceMs;

    public AnswerFollower(AnswerKey key, RedisAnswers redis, AnswerStore store, AnswerReports reports)
    {
        (_redis, _store, _reports) = (redis, store, reports);
        Answer = new KeptAnswer(key, store.Memory);
        _loaded = new Lazy<Task<FollowResult>>(LoadAsync);
    }

    public KeptAnswer Answer { get; }

    /// <summary>May another reader use it?</summary>
    public bool IsOpen => Answer.End is null && Answer.IsKept;

    /// <summary>Completes when what was in Redis at its begin has been read; the same for all who ask.
    /// </summary>
    public Task<FollowResult> LoadedAsync() => _loaded.Value;

    /// <summary>Follows the answer to its end, or until it has no reader.</summary>
    [SuppressMessage("Design", "CA1031", Justification = "Whatever is wrong, its readers must have an end.")]
    public async Task RunAsync()
    {
        try
        {
            if (await LoadedAsync().ConfigureAwait(false) != FollowResult.Found)
                return;
            await FollowAsync().ConfigureAwait(false);
            var endedMs = Environment.TickCount64;
            while (MayBeRead(endedMs))
                await Task.Delay(s_pause).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            _reports.SharedIsOdd(e.GetType().Name);
            End(StreamOutcome.UpstreamError, ErrorResponse.BrokenOff);
        }
        finally
        {
            _store.Release(Answer);
        }
    }

    /// <summary>Ends the answer for the readers of this daemon.</summary>
    public void End(StreamOutcome outcome, ErrorResponse error)
    {
        if (Answer.End is null)
            Answer.Finish(new AnswerEnd(new BackendResult(outcome), error, IsLogged: false));
    }

    /// <summary>Whoever asked for it is about to read it, if it does not yet.</summary>
    private bool MayBeRead(long endedMs) => Answer.HasReaders
        || (!Answer.HadReaders && Environment.TickCount64 - endedMs < FirstReaderMs);

    private async Task<FollowResult> LoadAsync()
    {
        SharedState state;
        while ((state = await ReadAsync(isLoading: true).ConfigureAwait(false)) == SharedState.Running
            && _forgottenSinceMs != 0)
        {
            await Task.Delay(s_pause).ConfigureAwait(false);
        }

        if (state == SharedState.NoRoom)
        {
            Answer.TryRetire(s_brokenOff);
            return FollowResult.NoRoom;
        }

        var isFound = _goneSinceMs == 0 && (state == SharedState.Running || _hasEntries);
        // Now, not later: a reader that has everything gets a status then, at which an EventSource stops.
        if (state == SharedState.None || !isFound)
            End(StreamOutcome.UpstreamError, ErrorResponse.BrokenOff);
        return isFound ? FollowResult.Found
            : _goneSinceMs == 0 ? FollowResult.None : FollowResult.Unavailable;
    }

    private async Task FollowAsync()
    {
        while (Answer.End is null)
        {
            await Task.Delay(s_pause).ConfigureAwait(false);
            if (Answer.OrphanedForMs > OrphanedMs && Answer.TryRetire(s_brokenOff))
                return;
            if (!Answer.IsKept && !await Answer.WaitForReadersAsync().ConfigureAwait(false)
                && Answer.TryRetire(s_brokenOff))
            {
                return;
            }

            // Its owner died.
            if (await ReadAsync(isLoading: false).ConfigureAwait(false) == SharedState.None)
                End(StreamOutcome.UpstreamError, ErrorResponse.BrokenOff);
        }
    }

    /// <summary>Reads what is new.</summary>
    /// <param name="isLoading">Nobody reads it yet: it must have room as a whole.</param>
    private async Task<SharedState> ReadAsync(bool isLoading)
    {
        while (true)
        {
            if (await _redis.ReadAsync(Answer.Key, _next, SayRead()).ConfigureAwait(false) is not { } page)
            {
                // Redis is gone. It may come back before the owner's lease is over.
                if (_goneSinceMs == 0)
                    _goneSinceMs = Environment.TickCount64;
                return Environment.TickCount64 - _goneSinceMs > RedisAnswers.LeaseMs
                    ? SharedState.None
                    : SharedState.Running;
            }

            _goneSinceMs = 0;
            foreach (var entry in page.Entries)
            {
                _hasEntries = true;
                _next = $"({entry.Id}";
                if (!TryTake(entry, out var isHeld))
                    return SharedState.None;
                if (isHeld)
                    continue;
                if (isLoading)
                    return SharedState.NoRoom;
                Answer.StopKeeping();
            }

            if (page.Entries.Count > 0)
            {
                if (Answer.IsKept || Answer.End is not null)
                    continue;
                return SharedState.Running;
            }

            if (page.Lease == RedisScripts.Gone)
            {
                // It grew too long to be kept.
                _hasEntries = false;
                return SharedState.None;
            }

            if (page.Lease is not null || Answer.End is not null)
            {
                _forgottenSinceMs = 0;
                return SharedState.Running;
            }

            return MayBeWrittenAgain() ? SharedState.Running : SharedState.None;
        }
    }

    /// <summary>Redis has lost its data, or has evicted the lease, and the owner has not noticed yet: if it
    /// lives, it writes the answer again.</summary>
    private bool MayBeWrittenAgain()
    {
        if (_events == 0)
            return false;
        var now = Environment.TickCount64;
        if (_forgottenSinceMs == 0)
            _forgottenSinceMs = now;
        return now - _forgottenSinceMs < ForgottenMs;
    }

    /// <summary>Its owner must not take the answer for one without a reader.</summary>
    private int SayRead()
    {
        var now = Environment.TickCount64;
        if (Answer.OrphanedForMs > 0 || now < _nextSayMs)
            return 0;
        _nextSayMs = now + SayReadEveryMs;
        return ReadMs;
    }

    /// <param name="entry">The entry.</param>
    /// <param name="isHeld">False if there is no room for more.</param>
    /// <returns>False if the entry does not follow the one before it.</returns>
    private bool TryTake(SharedEntry entry, out bool isHeld)
    {
        isHeld = true;
        _owner ??= entry.Owner;
        if (entry.Owner != _owner)
            return false;
        if (entry.Owner.Length == 0)
            return false;
        if (entry.End is { } text)
        {
            if (SharedEnd.Read(text) is not { } end)
                return false;
            Answer.Finish(end, entry.Bytes);
            return true;
        }

        var bytes = entry.Bytes.AsSpan();
        var count = bytes.Count("\n\n"u8);
        // Redis had lost the answer, and its owner has written it again.
        var known = _events - (entry.LastEvent - count);
        if (known < 0)
            return false;
        for (var i = 0; i < known && bytes.Length > 0; i++)
            bytes = bytes[(bytes.IndexOf("\n\n"u8) + 2)..];
        _events = Math.Max(_events, entry.LastEvent);
        var (capacity, length) = Answer.AppendEvents(bytes, Math.Max(0, count - known));
        isHeld = !Answer.IsKept || _store.TryHold(Answer, capacity, length);
        return true;
    }

    private enum SharedState
    {
        Running,

        /// <summary>There is no owner, and no end: it died.</summary>
        None,

        /// <summary>There is no room for it.</summary>
        NoRoom,
    }
}
