using System.Threading.RateLimiting;

namespace StreamingDaemon.Host.Limits;

/// <summary>
/// Counts one user's streams in a sliding window. It moves in steps of a sixth: with one step per window, a
/// user could begin twice the limit around its border. A refusal says when the next stream may begin; the
/// library's own window says its whole length.
/// </summary>
/// <param name="permits">Streams per window.</param>
/// <param name="window">Its length.</param>
/// <param name="time">The clock.</param>
internal sealed class UserWindow(int permits, TimeSpan window, TimeProvider time) : RateLimiter
{
    private const int Steps = 6;

    private static readonly Lease s_begun = new(true, null);

    private readonly Lock _gate = new();
    private readonly long _stepTicks = Math.Max(1, window.Ticks / Steps);
    private readonly long _start = time.GetTimestamp();

    /// <summary>Streams begun in each of the last steps; the step with number n is at n % Steps.</summary>
    private readonly int[] _counts = new int[Steps];
    private long _step;
    private int _sum;

    /// <summary>The step of the last stream; before the first, one whose window is over.</summary>
    private long _lastStep = -Steps;

    /// <summary>How long the window has been empty: above ten seconds the library forgets the user.</summary>
    public override TimeSpan? IdleDuration
    {
        get
        {
            lock (_gate)
            {
                var elapsed = Advance();
                var emptySince = TimeSpan.FromTicks((_lastStep + Steps) * _stepTicks);
                return _sum > 0 ? null : elapsed - emptySince;
            }
        }
    }

    public override RateLimiterStatistics? GetStatistics() => null;

    protected override RateLimitLease AttemptAcquireCore(int permitCount)
    {
        lock (_gate)
        {
            var elapsed = Advance();
            if (_sum + permitCount > permits)
                return new Lease(false, OldestEnds() - elapsed);
            _counts[_step % Steps] += permitCount;
            _sum += permitCount;
            if (permitCount > 0)
                _lastStep = _step;
            return s_begun;
        }
    }

    protected override ValueTask<RateLimitLease> AcquireAsyncCore(
        int permitCount, CancellationToken cancellationToken) => new(AttemptAcquireCore(permitCount));

    /// <summary>Moves the window to now.</summary>
    /// <returns>Time since the start.</returns>
    private TimeSpan Advance()
    {
        var elapsed = time.GetElapsedTime(_start);
        var now = elapsed.Ticks / _stepTicks;
        for (var passed = Math.Min(now - _step, Steps); passed > 0; passed--)
        {
            ref var oldest = ref _counts[(now - passed + 1) % Steps];
            _sum -= oldest;
            oldest = 0;
        }

        _step = Math.Max(_step, now);
        return elapsed;
    }

    /// <summary>When the oldest step with any stream leaves the window.</summary>
    private TimeSpan OldestEnds()
    {
        var oldest = Math.Max(0, _step - Steps + 1);
        while (oldest < _step && _counts[oldest % Steps] == 0)
            oldest++;
        return TimeSpan.FromTicks((oldest + Steps) * _stepTicks);
    }

    /// <summary>Permits a stream, or says how long to wait.</summary>
    private sealed class Lease(bool isAcquired, TimeSpan? wait) : RateLimitLease
    {
        public override bool IsAcquired => isAcquired;

        public override IEnumerable<string> MetadataNames =>
            wait is null ? [] : [MetadataName.RetryAfter.Name];

        public override bool TryGetMetadata(string metadataName, out object? metadata)
        {
            metadata = metadataName == MetadataName.RetryAfter.Name ? wait : null;
            return metadata is not null;
        }
    }
}
