using System.Diagnostics;
using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Report;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

public sealed class TimingTests
{
    private const int Events = 3;
    private static readonly long s_millisecond = Stopwatch.Frequency / 1_000;

    [Fact]
    public void Arrivals_are_due_by_the_rate_and_not_by_when_the_last_one_was_done()
    {
        var schedule = new ArrivalSchedule(1_000, 250);

        Assert.Equal([1_000, 1_000 + 4 * s_millisecond, 1_000 + 40_000 * s_millisecond],
            [schedule.At(0), schedule.At(1), schedule.At(10_000)]);
    }

    [Fact]
    public void Without_a_rate_all_are_due_at_once() => Assert.Equal(77, new ArrivalSchedule(77, 0).At(9_999));

    [Fact]
    public void Head_and_first_token_count_from_when_the_stream_was_due()
    {
        var timings = new StreamTimings(50);
        var last = 0L;
        timings.OnProgress(0, ref last, 0, 1, Events, 3 * s_millisecond);
        timings.OnProgress(0, ref last, 1, 2, Events, 8 * s_millisecond);

        Assert.Equal(3, Figure.Percentile(timings.Head, 100)!.Value, 0.01);
        Assert.Equal(8, Figure.Percentile(timings.FirstToken, 100)!.Value, 0.01);
        Assert.Equal(8 * s_millisecond, last);
    }

    [Fact]
    public void Gaps_lie_between_events_only_and_err_in_both_directions()
    {
        var timings = new StreamTimings(50);
        var last = 0L;
        timings.OnProgress(0, ref last, 0, 2, Events, 10 * s_millisecond);
        timings.OnProgress(0, ref last, 2, 3, Events, 70 * s_millisecond);
        timings.OnProgress(0, ref last, 3, 4, Events, 100 * s_millisecond);
        timings.OnProgress(0, ref last, 4, 5, Events, 900 * s_millisecond);

        Assert.Equal(Events - 1, timings.Gap.TotalCount);
        Assert.Equal(60, Figure.Percentile(timings.Gap, 100)!.Value, 0.1);
        Assert.Equal(10, Figure.Percentile(timings.GapError, 50)!.Value, 0.1);
        Assert.Equal(20, Figure.Percentile(timings.GapError, 100)!.Value, 0.1);
    }

    [Fact]
    public void Events_that_come_in_one_read_have_no_gap_and_all_of_the_error()
    {
        var timings = new StreamTimings(50);
        var last = 0L;
        timings.OnProgress(0, ref last, 0, 5, Events, 10 * s_millisecond);

        Assert.Equal(2, timings.Gap.TotalCount);
        Assert.Equal(0, Figure.Percentile(timings.Gap, 100));
        Assert.Equal(50, Figure.Percentile(timings.GapError, 50)!.Value, 0.1);
    }

    [Theory]
    [InlineData(50, 500)]
    [InlineData(99, 990)]
    [InlineData(99.9, 999)]
    [InlineData(100, 1_000)]
    public void Percentiles_of_a_thousand_known_values_are_right_to_three_digits(double percentile, double ms)
    {
        var timings = new StreamTimings(0);
        for (var i = 1; i <= 1_000; i++)
            timings.OnGood(0, i * s_millisecond);

        Assert.Equal(ms, Figure.Percentile(timings.Duration, percentile)!.Value, ms / 1_000);
    }

    [Fact]
    public void Runs_add_up()
    {
        var first = new StreamTimings(0);
        var second = new StreamTimings(0);
        first.OnGood(0, 10 * s_millisecond);
        second.OnGood(0, 30 * s_millisecond);
        first.Add(second);

        Assert.Equal(2, first.Duration.TotalCount);
        Assert.Equal(30, Figure.Percentile(first.Duration, 100)!.Value, 0.1);
    }

    [Fact]
    public void What_was_never_measured_is_not_zero()
    {
        Assert.Null(Figure.Percentile(new StreamTimings(0).Head, 50));
        Assert.Null(Summary.Median([null, null]));
    }

    [Fact]
    public void The_median_is_of_the_values_that_are_there()
    {
        Assert.Equal(3, Summary.Median([9, 1, null, 3]));
        Assert.Equal(2, Summary.Median([1, 3]));
    }
}
