using StreamingDaemon.Host.Runtime;
using Xunit;

namespace StreamingDaemon.Host.Tests;

public sealed class CollectorOverheadTests
{
    private readonly CollectorOverhead _overhead = new(() => throw new InvalidOperationException("not asked"));
    private long _nowMs = 1_000_000;
    private double _pausedMs = 5_000;

    public CollectorOverheadTests() => Look(0, 0);

    private bool Look(int passedMs, int pausedMs, double used = 0.95)
    {
        _nowMs += passedMs;
        _pausedMs += pausedMs;
        return _overhead.Look(_nowMs, TimeSpan.FromMilliseconds(_pausedMs), used);
    }

    [Fact]
    public void Ten_seconds_of_nothing_but_collections_of_a_full_heap_end_the_process()
    {
        for (var i = 0; i < 9; i++)
            Assert.False(Look(1_050, 1_000));
        Assert.True(Look(1_050, 1_000));
    }

    [Theory]
    [InlineData(1_000, 890, 0.95)] // a second in which something was done
    [InlineData(1_000, 1_000, 0.89)] // of a heap that is not full
    [InlineData(3_600_000, 3_600_000, 0.95)] // of a process that stood still in a collection
    public void One_other_second_and_it_goes_on(int passedMs, int pausedMs, double used)
    {
        for (var i = 0; i < 9; i++)
            Assert.False(Look(1_000, 1_000));
        Assert.False(Look(passedMs, pausedMs, used));
        for (var i = 0; i < 9; i++)
            Assert.False(Look(1_000, 1_000));
        Assert.True(Look(1_000, 1_000));
    }
}
