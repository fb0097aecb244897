using System.Threading.RateLimiting;
using StreamingDaemon.Host.Limits;
using Xunit;

namespace StreamingDaemon.Host.Tests.Limits;

public sealed class UserWindowTests
{
    private readonly ManualTime _time = new();

    [Fact]
    public void Refusal_says_when_the_oldest_stream_leaves_the_window_and_then_there_is_room()
    {
        using var window = new UserWindow(2, TimeSpan.FromSeconds(60), _time);
        Assert.Null(Wait(window));
        _time.Pass(25);
        Assert.Null(Wait(window));
        _time.Pass(10);

        Assert.Equal(25, Wait(window));
        _time.Pass(24);
        Assert.Equal(1, Wait(window));
        _time.Pass(1);
        Assert.Null(Wait(window));
        Assert.Equal(20, Wait(window));
    }

    [Fact]
    public void Twice_the_limit_never_begins_within_one_window()
    {
        using var window = new UserWindow(3, TimeSpan.FromSeconds(60), _time);
        var begun = new Queue<int>();
        for (var second = 0; second < 600; second++, _time.Pass(1))
        {
            if (Wait(window) is null)
                begun.Enqueue(second);
            while (begun.TryPeek(out var oldest) && oldest <= second - 50)
                begun.Dequeue();
            Assert.InRange(begun.Count, 0, 3);
        }
    }

    [Fact]
    public void Window_is_idle_from_the_moment_it_is_empty()
    {
        using var window = new UserWindow(2, TimeSpan.FromSeconds(60), _time);
        Assert.Equal(TimeSpan.Zero, window.IdleDuration);
        _ = Wait(window);
        _time.Pass(59);
        Assert.Null(window.IdleDuration);
        _time.Pass(11);
        Assert.Equal(TimeSpan.FromSeconds(10), window.IdleDuration);
    }

    [Fact]
    public void Long_pause_empties_the_window_once()
    {
        using var window = new UserWindow(1, TimeSpan.FromSeconds(6), _time);
        for (var i = 0; i < 3; i++)
        {
            Assert.Null(Wait(window));
            Assert.NotNull(Wait(window));
            _time.Pass(1_000_000);
        }
    }

    /// <returns>Null if a stream may begin, else the seconds to wait.</returns>
    private static double? Wait(UserWindow window)
    {
        using var lease = window.AttemptAcquire();
        if (lease.IsAcquired)
            return null;
        Assert.True(lease.TryGetMetadata(MetadataName.RetryAfter, out var wait));
        return wait.TotalSeconds;
    }

    private sealed class ManualTime : TimeProvider
    {
        private long _now = 12345;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _now;

        public void Pass(int seconds) => _now += seconds * TimeSpan.TicksPerSecond;
    }
}
