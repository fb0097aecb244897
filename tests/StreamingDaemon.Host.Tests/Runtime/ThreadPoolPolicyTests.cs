using StreamingDaemon.Host.Runtime;
using Xunit;

namespace StreamingDaemon.Host.Tests.Runtime;

public sealed class ThreadPoolPolicyTests
{
    private const int Cores = 4;

    private readonly ThreadPoolPolicy _policy = new(Cores);
    private long _completed;

    [Fact]
    public void One_worker_at_the_start() => Assert.Equal(1, _policy.Workers);

    [Fact]
    public void Work_that_is_late_once_adds_no_worker()
    {
        for (var look = 0; look < 20; look++)
            Works(busy: 1, late: look % 2 == 0);

        Assert.Equal(1, _policy.Workers);
    }

    [Fact]
    public void Work_that_stays_late_doubles_the_workers_up_to_the_cores()
    {
        Works(busy: 1, late: true);
        Assert.True(Works(busy: 1, late: true));
        Assert.Equal(2, _policy.Workers);

        for (var look = 0; look < 20; look++)
            Works(busy: 4, late: true);

        Assert.Equal(Cores, _policy.Workers);
    }

    [Fact]
    public void If_the_only_worker_blocks_a_second_comes_within_two_looks()
    {
        Works(busy: 1);

        Blocks(busy: 1);
        Assert.True(Blocks(busy: 1));

        Assert.Equal(2, _policy.Workers);
    }

    [Fact]
    public void If_all_workers_block_eight_are_added_each_time_up_to_64()
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
    public void Workers_that_block_keep_their_threads()
    {
        BlockTwenty();

        for (var look = 0; look < 1_000; look++)
            Works(busy: 9);

        Assert.Equal(20, _policy.Workers);
    }

    [Fact]
    public void If_no_worker_blocks_any_more_their_number_falls_again()
    {
        BlockTwenty();

        for (var look = 0; look < 1_000; look++)
            Works(busy: 0);

        Assert.Equal(1, _policy.Workers);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(9)]
    public void Configured_number_of_workers_is_the_minimum(int least)
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
    public void More_than_64_workers_at_the_start_stay_if_all_of_them_block()
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
    public void Fewer_workers_are_tried_after_a_calm_second_and_less_often_after_each_failed_try()
    {
        GrowTo(2);

        // Two workers are busy half of the time; one alone does not keep up.
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
    public void After_a_good_try_the_next_comes_as_soon()
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
