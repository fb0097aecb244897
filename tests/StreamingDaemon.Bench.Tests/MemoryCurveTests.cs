using StreamingDaemon.Testing.Chaos;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

public sealed class MemoryCurveTests
{
    [Fact]
    public void Memory_that_fills_its_pools_and_then_stays_is_flat()
    {
        var samples = Enumerable.Range(0, 60).Select(i => 80_000 + Math.Min(i, 15) * 4_000L + i * 7 % 5 * 1_000L);

        Assert.Null(MemoryCurve.Judge([.. samples]));
    }

    [Fact]
    public void One_peak_in_the_last_third_is_no_growth()
    {
        var samples = Enumerable.Repeat(100_000L, 30).ToList();
        samples[27] = 300_000;

        Assert.Null(MemoryCurve.Judge(samples));
    }

    [Fact]
    public void Memory_that_grows_with_every_stream_is_named_with_both_thirds()
    {
        var samples = Enumerable.Range(0, 30).Select(i => 60_000 + i * 2_000L);

        Assert.Equal("resident memory is not flat: 110000 KB in the last third, 90000 KB in the middle one",
            MemoryCurve.Judge([.. samples]));
    }

    [Fact]
    public void Run_that_is_too_short_to_tell_is_not_judged() => Assert.Null(MemoryCurve.Judge([1, 2, 3, 4, 5, 6, 7, 8]));
}
