using StreamingDaemon.Uring.Timers;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Timers;

public sealed class TimerWheelTests
{
    private sealed class Timer : LoopTimer
    {
        public long? FiredAt;
    }

    private readonly TimerWheel _wheel = new(1_000_000);
    private long _now = 1_000_000;

    [Fact]
    public void Timers_fire_once_never_early_and_at_most_two_ticks_late()
    {
        var random = new Random(7);
        var timers = Enumerable.Range(0, 2000).Select(_ => (Timer: new Timer(), Due: _now + random.Next(1, 60_000)))
            .ToList();
        foreach (var (timer, due) in timers)
            _wheel.Set(timer, due);

        AdvanceTo(_now + 61_000);

        Assert.All(timers, t => Assert.InRange(t.Timer.FiredAt!.Value, t.Due, t.Due + 2 * TimerWheel.TickMs));
        Assert.Equal(0, _wheel.Count);
    }

    [Fact]
    public void Deadline_that_moves_later_fires_only_then_and_one_that_moves_earlier_fires_then()
    {
        var later = new Timer();
        var earlier = new Timer();
        _wheel.Set(later, _now + 100);
        _wheel.Set(earlier, _now + 40_000);

        _wheel.Set(later, _now + 30_000);
        _wheel.Set(earlier, _now + 200);
        var start = _now;
        AdvanceTo(_now + 50_000);

        Assert.InRange(later.FiredAt!.Value, start + 30_000, start + 30_000 + 2 * TimerWheel.TickMs);
        Assert.InRange(earlier.FiredAt!.Value, start + 200, start + 200 + 2 * TimerWheel.TickMs);
    }

    [Fact]
    public void Cleared_and_removed_timers_do_not_fire_and_leave_nothing()
    {
        var cleared = new Timer();
        var removed = new Timer();
        _wheel.Set(cleared, _now + 100);
        _wheel.Set(removed, _now + 100);

        TimerWheel.Clear(cleared);
        _wheel.Remove(removed);
        AdvanceTo(_now + 1000);

        Assert.Null(cleared.FiredAt);
        Assert.Null(removed.FiredAt);
        Assert.Equal(0, _wheel.Count);
    }

    [Fact]
    public void Wait_is_unbounded_without_timers_and_reaches_the_next_one_otherwise()
    {
        Assert.Equal(-1, _wheel.WaitMs(_now));

        _wheel.Set(new Timer(), _now + 5_000);

        Assert.InRange(_wheel.WaitMs(_now), 5_000, 5_000 + TimerWheel.TickMs);
    }

    [Fact]
    public void Callback_may_set_and_remove_other_timers()
    {
        var victim = new Timer();
        var next = new Timer();
        var first = new Timer();
        _wheel.Set(victim, _now + 100);
        _wheel.Set(first, _now + 90);

        for (; _now < 1_001_000; _now += 5)
        {
            _wheel.Advance(_now, t =>
            {
                ((Timer)t).FiredAt = _now;
                if (t == first)
                {
                    _wheel.Remove(victim);
                    _wheel.Set(next, _now + 50);
                }
            });
        }

        Assert.NotNull(first.FiredAt);
        Assert.NotNull(next.FiredAt);
        Assert.Null(victim.FiredAt);
    }

    [Fact]
    public void Wheel_that_was_not_looked_at_for_hours_fires_all_that_is_due()
    {
        var timers = Enumerable.Range(0, 100).Select(_ => new Timer()).ToList();
        for (var i = 0; i < timers.Count; i++)
            _wheel.Set(timers[i], _now + i * 997);

        _now += 4 * 3600 * 1000;
        _wheel.Advance(_now, t => ((Timer)t).FiredAt = _now);

        Assert.All(timers, t => Assert.NotNull(t.FiredAt));
    }

    private void AdvanceTo(long end)
    {
        for (; _now < end; _now += 3)
        {
            _wheel.Advance(_now, t =>
            {
                Assert.Null(((Timer)t).FiredAt);
                ((Timer)t).FiredAt = _now;
            });
        }
    }
}
