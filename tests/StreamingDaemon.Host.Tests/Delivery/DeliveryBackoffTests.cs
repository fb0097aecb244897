using StreamingDaemon.Host.Delivery;
using Xunit;

namespace StreamingDaemon.Host.Tests.Delivery;

public sealed class DeliveryBackoffTests
{
    private static readonly DeliveryResult s_failed = new(DeliveryVerdict.Failed, "HTTP 500");
    private static readonly DeliveryResult s_away = new(DeliveryVerdict.Unavailable, "ConnectionError");
    private readonly DeliveryBackoff _backoff = new(new Random(1));

    [Fact]
    public void Delivery_that_fails_alone_waits_longer_each_time_and_stops_no_other()
    {
        for (var attempts = 1; attempts < 30; attempts++)
        {
            var full = Math.Min(Math.Pow(2, attempts - 1), 600);
            Assert.InRange(_backoff.After(attempts, s_failed, 0).TotalSeconds, full / 2, full);
        }

        Assert.False(_backoff.IsPaused);
        Assert.Equal(0, _backoff.PauseLeftMs(0));
    }

    [Fact]
    public void Receiver_that_is_away_pauses_all_and_for_half_a_minute_at_most()
    {
        var now = 1_000L;
        for (var failure = 0; failure < 30; failure++)
        {
            var wait = _backoff.After(1, s_away, now);
            var pause = _backoff.PauseLeftMs(now);
            var full = Math.Min(250 * Math.Pow(2, failure), 30_000);
            Assert.InRange(pause, full / 2 - 1, full);
            Assert.InRange(wait.TotalMilliseconds, pause, 31_000);
            now += pause;
        }

        Assert.True(_backoff.EndPause());
        Assert.False(_backoff.IsPaused);
        Assert.False(_backoff.EndPause());
    }

    [Fact]
    public void Deliveries_that_fail_together_are_one_failure()
    {
        for (var i = 0; i < 8; i++)
            _backoff.After(1, s_away, 1_000);

        Assert.InRange(_backoff.PauseLeftMs(1_000), 125, 250);
    }

    [Fact]
    public void Receiver_says_when_to_come_again()
    {
        var asked = TimeSpan.FromMinutes(20);

        Assert.Equal(asked, _backoff.After(1, s_failed with { RetryAfter = asked }, 0));
        Assert.False(_backoff.IsPaused);
        Assert.Equal(asked, _backoff.After(1, s_away with { RetryAfter = asked }, 0));
        Assert.Equal(asked.TotalMilliseconds, _backoff.PauseLeftMs(0));
    }
}
