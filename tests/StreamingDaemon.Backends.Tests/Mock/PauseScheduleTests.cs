using StreamingDaemon.Backends.Mock;

namespace StreamingDaemon.Backends.Tests.Mock;

public sealed class PauseScheduleTests
{
    private static readonly long s_tick = PauseSchedule.TickLength;

    [Theory]
    [InlineData(0, 50)]
    [InlineData(1, 51)]
    [InlineData(999, 51)]
    [InlineData(1000, 51)]
    [InlineData(7400, 58)]
    public void First_pause_is_rounded_up_and_never_ends_early(long microseconds, long due) =>
        Assert.Equal(due, PauseSchedule.DueTick(Ticks(microseconds), 0, 50));

    [Theory]
    [InlineData(100_000, 150)]
    [InlineData(100_100, 150)]
    [InlineData(100_999, 150)]
    // Later than a tick: the nearest one, up or down.
    [InlineData(101_000, 151)]
    [InlineData(101_499, 151)]
    [InlineData(101_500, 152)]
    [InlineData(134_700, 185)]
    public void Pause_counts_from_when_the_last_one_was_due(long microseconds, long due) =>
        Assert.Equal(due, PauseSchedule.DueTick(Ticks(microseconds), 100, 50));

    [Theory]
    [InlineData(1)]
    [InlineData(50)]
    [InlineData(500)]
    public void Pauses_of_a_stream_that_goes_on_a_little_late_do_not_drift(int milliseconds)
    {
        var begun = Ticks(12_345);
        var first = PauseSchedule.DueTick(begun, 0, milliseconds);
        var due = first;
        for (var pause = 1; pause < 1_000; pause++)
            due = PauseSchedule.DueTick((due * s_tick) + Ticks(pause % 1_000), due, milliseconds);

        Assert.Equal(first + (999L * milliseconds), due);
    }

    [Fact]
    public void Pauses_of_late_streams_are_right_in_the_mean()
    {
        // Late by 3 to 4 ms, in steps of a microsecond.
        var errors = Enumerable.Range(3_000, 1_000).Select(late =>
            (PauseSchedule.DueTick((100 * s_tick) + Ticks(late), 100, 50) - 150) - (late / 1_000.0));

        Assert.InRange(errors.Average(), -0.01, 0.01);
    }

    [Fact]
    public void Pause_is_due_after_the_current_tick_and_not_before_its_schedule()
    {
        for (var late = 0; late < 5_000; late += 7)
        {
            var now = (100 * s_tick) + Ticks(late);
            var due = PauseSchedule.DueTick(now, 100, 1);

            Assert.True(due > now / s_tick);
            Assert.True(due >= 101);
        }
    }

    private static long Ticks(long microseconds) => microseconds * s_tick / 1_000;
}
