namespace StreamingDaemon.Testing.Chaos;

/// <summary>What the receiver did with one attempt of a delivery.</summary>
public enum KeptVerdict
{
    /// <summary>A 2xx.</summary>
    Taken,

    /// <summary>The receiver was away: a 503.</summary>
    Away,

    /// <summary>It answered after the daemon's patience was over.</summary>
    TooSlow,

    /// <summary>A status after which the daemon tries again.</summary>
    Failed,

    /// <summary>A status after which the daemon does not try again.</summary>
    Refused,
}

/// <summary>
/// Every attempt of every delivery as the receiver saw it. It says for each why it was not made sooner: the
/// answer had not ended, the one before it of its user had not arrived, it had failed itself and had to wait,
/// or the receiver took none and all of them waited. What is left is the daemon's own.
/// </summary>
/// <param name="clock">The time in milliseconds; by default <see cref="Environment.TickCount64"/>.</param>
public sealed class KeptAttempts(Func<long>? clock = null)
{
    /// <summary>An answer that arrives within this time is not late.</summary>
    private const int InTimeMs = 1_000;

    /// <summary>The pauses of docs/delivery.md: of one that failed by itself, and of all.</summary>
    private const int FirstWaitMs = 1_000;
    private const int LongestWaitMs = 600_000;
    private const int FirstPauseMs = 250;
    private const int LongestPauseMs = 30_000;

    private readonly Dictionary<string, Story> _stories = [];
    private readonly Dictionary<string, long> _lastOfUsers = [];
    private readonly Dictionary<string, int> _late = [];
    private readonly List<(long Ms, string Text)> _idle = [];
    private readonly object _gate = new();
    private readonly long _beganMs = clock?.Invoke() ?? Environment.TickCount64;
    private long _lastMs = clock?.Invoke() ?? Environment.TickCount64;
    private long _pauseBeganMs;
    private long _pauseEndsMs;
    private int _pauses;

    public long NowMs => clock?.Invoke() ?? Environment.TickCount64;

    /// <summary>When the last attempt came.</summary>
    public long LastMs => Volatile.Read(ref _lastMs);

    /// <summary>The longest time from an answer's end to its arrival.</summary>
    public long LongestMs { get; private set; }

    /// <summary>The longest time for which a delivery could have been tried and was not.</summary>
    public long LongestIdleMs { get; private set; }

    /// <summary>Those that waited longest for the daemon alone, each as it was noticed.</summary>
    public IReadOnlyList<string> Idle
    {
        get
        {
            lock (_gate)
                return [.. _idle.OrderByDescending(one => one.Ms).Take(5).Select(one => one.Text)];
        }
    }

    /// <summary>Deliveries that came late, by the cause of most of that.</summary>
    public IReadOnlyDictionary<string, int> Late
    {
        get
        {
            lock (_gate)
                return new Dictionary<string, int>(_late);
        }
    }

    /// <summary>Notes an attempt.</summary>
    /// <param name="id">The delivery.</param>
    /// <param name="user">Its user.</param>
    /// <param name="ageMs">How long ago its answer ended.</param>
    /// <param name="verdict">What became of the attempt.</param>
    public void Add(string id, string user, long ageMs, KeptVerdict verdict)
    {
        var now = NowMs;
        Volatile.Write(ref _lastMs, now);
        lock (_gate)
        {
            if (!_stories.TryGetValue(id, out var story))
                _stories[id] = story = new Story(now - ageMs);
            story.Wait(now, _lastOfUsers.GetValueOrDefault(user), _pauseEndsMs);
            LongestIdleMs = Math.Max(LongestIdleMs, story.IdleMs);
            if (story.IdleMs > InTimeMs)
            {
                _idle.Add((story.IdleMs, $"{(now - _beganMs) / 1000.0:0.0} s: {story.IdleMs} ms of "
                    + $"{now - story.EndedMs}, user {user}, after: {story.Words}"));
            }

            if (verdict == KeptVerdict.Taken && !story.IsTaken)
                Judge(story, now);
            story.Add(verdict, now);
            if (verdict is KeptVerdict.Taken or KeptVerdict.Refused)
                _lastOfUsers[user] = now;
            Pause(verdict, now);
        }
    }

    /// <summary>Why a delivery still waits.</summary>
    /// <param name="id">The delivery.</param>
    /// <param name="isTried">Whether it ever came.</param>
    /// <param name="overdueMs">For how long it should have been tried; below 0 if it waits with reason.</param>
    public string WhyWaits(string id, out bool isTried, out long overdueMs)
    {
        lock (_gate)
        {
            isTried = _stories.TryGetValue(id, out var story);
            overdueMs = NowMs - Math.Max(story?.DueMs ?? 0, _pauseEndsMs);
            return story is null ? "was never tried" : $"was tried {story.Tries} times: {story.Words}";
        }
    }

    /// <summary>What became of an answer's delivery, for a complaint.</summary>
    public string Of(string id)
    {
        lock (_gate)
            return _stories.TryGetValue(id, out var story) ? $"{story.Tries} attempts: {story.Words}" : "no attempt";
    }

    private void Judge(Story story, long now)
    {
        var tookMs = now - story.EndedMs;
        LongestMs = Math.Max(LongestMs, tookMs);
        if (tookMs > InTimeMs)
            _late[story.Cause] = _late.GetValueOrDefault(story.Cause) + 1;
    }

    /// <summary>Those that fail together make one pause; the daemon's is up to half shorter than this one.
    /// </summary>
    private void Pause(KeptVerdict verdict, long now)
    {
        if (verdict is not (KeptVerdict.Away or KeptVerdict.TooSlow))
        {
            _pauses = 0;
            return;
        }

        if (_pauses > 0 && now < (_pauseBeganMs + _pauseEndsMs) / 2)
            return;
        _pauseBeganMs = now;
        _pauseEndsMs = Math.Max(_pauseEndsMs, now + Doubled(FirstPauseMs, LongestPauseMs, _pauses++));
    }

    private static long Doubled(long first, long longest, int doublings) =>
        Math.Min(longest, first << Math.Min(doublings, 20));

    /// <summary>One delivery's attempts, and what it waited for before each.</summary>
    private sealed class Story(long endedMs)
    {
        private static readonly string[] s_causes = ["the one before it of its user", "its own failure: ",
            "the receiver took none", "the daemon"];

        private readonly List<KeptVerdict> _verdicts = [];
        private readonly long[] _waited = new long[s_causes.Length];
        private long _knownMs = endedMs;
        private long _lastMs;

        public long EndedMs { get; } = endedMs;

        public int Tries => _verdicts.Count;

        public bool IsTaken => _verdicts.Contains(KeptVerdict.Taken);

        public string Words => string.Join(", ", _verdicts);

        public long IdleMs => _waited[^1];

        /// <summary>When it must be tried again at the latest.</summary>
        public long DueMs => _verdicts.Count == 0 ? EndedMs
            : _lastMs + Doubled(FirstWaitMs, LongestWaitMs, _verdicts.Count - 1);

        /// <summary>What it waited for longest.</summary>
        public string Cause
        {
            get
            {
                var most = Array.IndexOf(_waited, _waited.Max());
                return s_causes[most] + (most == 1 ? _verdicts[0] : "");
            }
        }

        /// <summary>Says what the time since the last attempt, or the answer's end, was spent on.</summary>
        public void Wait(long now, long userMs, long pauseEndsMs)
        {
            long[] until = [userMs, DueMs, pauseEndsMs, now];
            for (var i = 0; i < until.Length; i++)
            {
                var at = Math.Clamp(until[i], _knownMs, now);
                _waited[i] += at - _knownMs;
                _knownMs = at;
            }
        }

        public void Add(KeptVerdict verdict, long now)
        {
            _lastMs = now;
            _verdicts.Add(verdict);
        }
    }
}
