namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// When a failed delivery is tried again. If the receiver takes none, all of them pause together and one is
/// tried after each pause: a receiver that comes back must not meet all of them at once, nor wait for the
/// longest pause. Not thread-safe.
/// </summary>
/// <param name="random">The jitter.</param>
internal sealed class DeliveryBackoff(Random random)
{
    private static readonly TimeSpan s_first = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(30);

    private int _failures;
    private long _pauseEndsMs;

    /// <summary>The receiver took none at the last attempts: one at a time is tried.</summary>
    public bool IsPaused => _failures > 0;

    /// <summary>How long nothing is sent, ms.</summary>
    public int PauseLeftMs(long nowMs) => (int)Math.Clamp(_pauseEndsMs - nowMs, 0, int.MaxValue);

    /// <summary>The receiver answers.</summary>
    /// <returns>True if it did not before.</returns>
    public bool EndPause()
    {
        var wasPaused = _failures > 0;
        (_failures, _pauseEndsMs) = (0, 0);
        return wasPaused;
    }

    /// <summary>After how long the delivery is tried again.</summary>
    /// <param name="attempts">How often it has failed, this time included.</param>
    /// <param name="result">How it failed.</param>
    /// <param name="nowMs">The time, as <see cref="Environment.TickCount64"/>.</param>
    public TimeSpan After(int attempts, in DeliveryResult result, long nowMs)
    {
        var own = Jittered(s_first, s_longest, attempts - 1);
        if (result.Verdict != DeliveryVerdict.Unavailable)
        {
            EndPause();
            return Max(own, result.RetryAfter);
        }

        // Those that were sent together fail together: that is one failure.
        var pause = nowMs < _pauseEndsMs
            ? TimeSpan.FromMilliseconds(_pauseEndsMs - nowMs)
            : Jittered(s_firstPause, s_longestPause, _failures++);
        pause = Max(pause, result.RetryAfter);
        _pauseEndsMs = Math.Max(_pauseEndsMs, nowMs + (long)pause.TotalMilliseconds);
        // Not before the pause ends; and if the receiver is away for hours, no later than the others.
        return Max(own < s_longestPause ? own : s_longestPause, pause);
    }

    private TimeSpan Jittered(TimeSpan first, TimeSpan longest, int doublings)
    {
        var full = first * Math.Pow(2, Math.Min(doublings, 20));
        return (full < longest ? full : longest) * (0.5 + (random.NextDouble() / 2));
    }

    private static TimeSpan Max(TimeSpan one, TimeSpan? other) =>
        other is { } longer && longer > one ? longer : one;
}
