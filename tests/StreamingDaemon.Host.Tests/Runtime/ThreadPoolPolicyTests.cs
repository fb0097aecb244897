using StreamingDaemon.Host.Runtime;
using Xunit;

namespace StreamingDaemon.Host.Tests.Runtime;

public sealed class ThreadPoolPolicyTests
{
    private const int Cores = 4;

    private readonly ThreadPoolPolicy _policy = new(Cores);
    private long _completed;

    [Fact]
    public void One_worker_to_begin_with() => Assert.Equal(1, _policy.Workers);

    [Fact]
    public void Work_that_is_late_once_is_no_reason()
    {
        for (var look = 0; look < 20; look++)
            Works(busy: 1, late: look % 2 == 0);

        Assert.Equal(1, _policy.Workers);
    }

    [Fact]
    public void Work_that_stays_late_doubles_them_up_to_the_cores()
    {
        Works(busy: 1, late: true);
        Assert.True(Works(busy: 1, late: true));
        Assert.Equal(2, _policy.Workers);

        for (var look = 0; look < 20; look++)
            Works(busy: 4, late: true);

        Assert.Equal(Cores, _policy.Workers);
    }

    [Fact]
    public void One_that_blocks_gets_a_second_within_two_looks()
    {
        Works(busy: 1);

        Blocks(busy: 1);
        Assert.True(Blocks(busy: 1));

        Assert.Equal(2, _policy.Workers);
    }

    [Fact]
    public void Where_all_of_them_block_eight_more_come_each_time_up_to_64()
    {
        Works(busy: 1);
        var seen = new List<int>();
        for (var look = 0; look < 200; look++)
        {
            if (Blocks(busy: _policy.Workers))
                seen.Add(_policy.Workers);
        }

        Assert.Equal([2, 4, 12, 20, 28, 36, 44, 52, 60, 64], seen);
    }

    [Fact]
    public void Those_who_block_keep_their_threads()
    {
        BlockTwenty();

        for (var look = 0; look < 1_000; look++)
            Works(busy: 9);

        Assert.Equal(20, _policy.Workers);
    }

    [Fact]
    public void Where_nobody_blocks_any_more_there_are_few_again()
    {
        BlockTwenty();

        for (var look = 0; look < 1_000; look++)
            Works(busy: 0);

        Assert.Equal(1, _policy.Workers);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(9)]
    public void Number_that_somebody_set_is_the_least(int least)
    {
        var policy = new ThreadPoolPolicy(Cores, least);
        for (var look = 0; look < 1_000; look++)
            policy.Look(new ThreadPoolReading(Pending: 1, Completed: look, Busy: 0, Late: false));
        Assert.Equal(least, policy.Workers);

        for (var look = 0; look < 12; look++)
            policy.Look(new ThreadPoolReading(Pending: 1, Completed: 1_000, Busy: policy.Workers, Late: false));
        Assert.True(policy.Workers > least);
        for (var look = 0; look < 1_000; look++)
            policy.Look(new ThreadPoolReading(Pending: 1, Completed: 2_000 + look, Busy: 0, Late: false));
        Assert.Equal(least, policy.Workers);
    }

    [Fact]
    public void More_than_64_to_begin_with_do_not_become_fewer_where_all_of_them_block()
    {
        var policy = new ThreadPoolPolicy(Cores, least: 100);

        for (var look = 0; look < 50; look++)
        {
            Assert.False(policy.Look(new ThreadPoolReading(Pending: 1, Completed: 0, Busy: 100, Late: false)));
            Assert.Equal(100, policy.Workers);
        }
    }

    [Fact]
    public void Workers_that_are_all_busy_stay()
    {
        GrowTo(Cores);

        for (var look = 0; look < 1_000; look++)
            Works(busy: Cores);

        Assert.Equal(Cores, _policy.Workers);
    }

    [Fact]
    public void Fewer_are_tried_after_a_calm_second_and_ever_more_rarely_where_they_do_not_do()
    {
        GrowTo(2);

        // Two are busy half of the time, one alone does not keep up.
        var tries = new List<int>();
        for (var look = 0; look < 3_000; look++)
        {
            if (Works(busy: 1) && _policy.Workers == 1)
            {
                tries.Add(look);
                GrowTo(2);
            }
        }

        Assert.Equal([99, 299, 699, 1_499], tries);
    }

    [Fact]
    public void A_try_that_did_well_is_made_again_as_soon()
    {
        GrowTo(2);
        LooksUntilOne();
        GrowTo(2);
        Assert.Equal(200, LooksUntilOne());
        for (var look = 0; look < 100; look++)
            Works(busy: 0);

        GrowTo(2);

        Assert.Equal(100, LooksUntilOne());
    }

    private int LooksUntilOne()
    {
        for (var look = 1; look <= 10_000; look++)
        {
            Works(busy: 1);
            if (_policy.Workers == 1)
                return look;
        }

        return -1;
    }

    private void BlockTwenty()
    {
        Works(busy: 1);
        while (_policy.Workers < 20)
            Blocks(busy: _policy.Workers);
    }

    private void GrowTo(int workers)
    {
        while (_policy.Workers < workers)
            Works(busy: _policy.Workers, late: true);
    }

    private bool Works(int busy, bool late = false) =>
        _policy.Look(new ThreadPoolReading(Pending: 1, Completed: ++_completed, busy, late));

    private bool Blocks(int busy) => _policy.Look(new ThreadPoolReading(Pending: 1, _completed, busy, Late: false));
}
