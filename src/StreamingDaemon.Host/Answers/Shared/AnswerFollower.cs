using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>Reads an answer that another daemon writes into Redis, for the readers of this one.</summary>
internal sealed class AnswerFollower
{
    /// <summary>How often a running answer is looked at.</summary>
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(50);

    /// <summary>How often it says that it has readers (ms), and for how long that counts.</summary>
    private const int SayReadEveryMs = 1_000;
    private const int ReadMs = 3_000;

    /// <summary>An owner writes something each second.</summary>
    private const int ForgottenMs = 3_000;

    /// <summary>Without a reader for this long (ms), an answer is no longer followed.</summary>
    private const long OrphanedMs = 2_000;

    private static readonly AnswerEnd s_brokenOff = new(
        new BackendResult(StreamOutcome.UpstreamError), ErrorResponse.BrokenOff, IsLogged: false);

    private readonly RedisAnswers _store;
    private string? _owner;
    private string _next = "-";
    private int _events;
    private bool _hasEntries;
    private long _goneSinceMs;
    private long _nextSayMs;
    private long _forgottenSinceMs;

    public AnswerFollower(AnswerKey key, RedisAnswers store)
    {
        _store = store;
        Answer = new KeptAnswer(key);
    }

    public KeptAnswer Answer { get; }

    /// <summary>Completes when what is in Redis now has been read.</summary>
    /// <returns>False if there is no such answer, or Redis does not answer.</returns>
    public async Task<bool> LoadAsync()
    {
        var state = await ReadAsync().ConfigureAwait(false);
        // Now, not later: a reader that has everything gets a status then, at which an EventSource stops.
        if (state == SharedState.None && _hasEntries)
            End(StreamOutcome.UpstreamError, ErrorResponse.BrokenOff);
        return _goneSinceMs == 0 && (state == SharedState.Running || _hasEntries);
    }

    /// <summary>Follows the answer to its end, or until it has no reader.</summary>
    public async Task RunAsync()
    {
        while (Answer.End is null)
        {
            await Task.Delay(s_pause).ConfigureAwait(false);
            if (Answer.OrphanedForMs > OrphanedMs && Answer.TryRetire(s_brokenOff))
                return;
            // Its owner died.
            if (await ReadAsync().ConfigureAwait(false) == SharedState.None)
                End(StreamOutcome.UpstreamError, ErrorResponse.BrokenOff);
        }
    }

    /// <summary>Ends the answer for the readers of this daemon.</summary>
    public void End(StreamOutcome outcome, ErrorResponse error)
    {
        if (Answer.End is null)
            Answer.Finish(new AnswerEnd(new BackendResult(outcome), error, IsLogged: false));
    }

    /// <summary>Reads what is new.</summary>
    private async Task<SharedState> ReadAsync()
    {
        while (true)
        {
            if (await _store.ReadAsync(Answer.Key, _next, SayRead()).ConfigureAwait(false) is not { } page)
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
                if (!TryTake(entry))
                    return SharedState.None;
            }

            if (page.Entries.Count > 0)
                continue;
            // It grew too long to be kept.
            if (page.Lease == RedisScripts.Gone)
                _hasEntries = false;
            var isOwned = page.Lease is not (null or RedisScripts.Gone) || MayBeWrittenAgain(page);
            return isOwned || Answer.End is not null ? SharedState.Running : SharedState.None;
        }
    }

    /// <summary>Redis has lost its data, and the owner has not noticed yet: if it lives, it writes the answer
    /// again.</summary>
    private bool MayBeWrittenAgain(SharedPage page)
    {
        if (_events == 0 || page.Lease is not null || page.HasEvents)
        {
            _forgottenSinceMs = 0;
            return false;
        }

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

    /// <returns>False if the entry does not follow the one before it.</returns>
    private bool TryTake(SharedEntry entry)
    {
        _owner ??= entry.Owner;
        if (entry.Owner != _owner)
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
        Answer.AppendEvents(bytes, Math.Max(0, count - known));
        return true;
    }

    private enum SharedState
    {
        Running,

        /// <summary>There is no owner, and no end: it died.</summary>
        None,
    }
}

/// <summary>One entry of an answer's stream.</summary>
/// <param name="Id">Its id.</param>
/// <param name="LastEvent">The id of its last event.</param>
/// <param name="Owner">The claim that wrote it.</param>
/// <param name="Bytes">Whole events. With an end, the only one, or none.</param>
/// <param name="End">The end, or null.</param>
internal sealed record SharedEntry(string Id, int LastEvent, string Owner, byte[] Bytes, string? End);

/// <summary>What a read found.</summary>
/// <param name="Lease">The claim of the owner, <c>done</c>, or null.</param>
/// <param name="Entries">The next entries.</param>
/// <param name="HasEvents">Whether there are entries at all.</param>
internal sealed record SharedPage(string? Lease, IReadOnlyList<SharedEntry> Entries, bool HasEvents);
