using System.Reflection;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Limits;

public sealed class UserLimitsTests
{
    private static readonly RateLimitOptions s_both = new() { Requests = 3, WindowS = 600, ConcurrentStreams = 1 };

    [Fact]
    public void Stream_refused_for_those_that_run_is_no_request_of_the_window()
    {
        using var limits = With(s_both);

        var running = limits.Enter(7);
        for (var i = 0; i < 10; i++)
            Assert.True(limits.Enter(7).IsRefused);
        running.Dispose();

        for (var i = 0; i < 2; i++)
        {
            using var permit = limits.Enter(7);
            Assert.False(permit.IsRefused);
        }

        Assert.InRange(limits.Enter(7).RetryAfterSeconds!.Value, 1, 600);
    }

    [Fact]
    public async Task Stream_refused_for_the_window_does_not_count_as_running()
    {
        using var limits = With(s_both with { Requests = 1, WindowS = 1 });
        limits.Enter(7).Dispose();

        Assert.True(limits.Enter(7).IsRefused);

        await Eventually.TrueAsync(() =>
        {
            using var permit = limits.Enter(7);
            return !permit.IsRefused;
        });
    }

    [Fact]
    public async Task Other_limits_take_the_place_of_the_old_ones_under_load()
    {
        using var limits = With(s_both);
        using var stop = new CancellationTokenSource();
        var users = Enumerable.Range(1, 4).Select(user => Task.Run(() =>
        {
            while (!stop.IsCancellationRequested)
                limits.Enter(user).Dispose();
        })).ToList();

        for (var i = 0; i < 200; i++)
            limits.Apply(i % 3 == 0 ? new RateLimitOptions() : s_both with { Requests = i });
        await stop.CancelAsync();
        await Task.WhenAll(users);

        limits.Apply(new RateLimitOptions());
        Assert.All(Enumerable.Range(0, 100), _ => Assert.False(limits.Enter(1).IsRefused));
    }

    [Trait("Takes", "Long")]
    [Fact]
    public async Task Users_without_a_stream_are_forgotten()
    {
        using var limits = With(s_both with { WindowS = 1 });
        for (var user = 1; user <= 1000; user++)
            limits.Enter(user).Dispose();

        Assert.Equal(2000, Remembered(limits));
        await Eventually.TrueAsync(() => Remembered(limits) == 0, TimeSpan.FromSeconds(60));
    }

    [Fact]
    public void Those_who_name_no_user_share_a_limit_of_their_own()
    {
        using var limits = With(s_both with { Requests = 2, ConcurrentStreams = 0 });
        for (var i = 0; i < 2; i++)
            Assert.False(limits.Enter(default).IsRefused);

        Assert.True(limits.Enter(default).IsRefused);
        Assert.False(limits.Enter(0).IsRefused);
        Assert.False(limits.Enter(new UserId("0b9d4f1e-alice")).IsRefused);
    }

    [Theory]
    [InlineData("7", true)]
    [InlineData("-7", false)]
    [InlineData("07", false)]
    [InlineData("alice", false)]
    public void User_whose_text_is_an_integer_is_the_user_of_that_integer(string text, bool isSeven)
    {
        using var limits = With(s_both with { Requests = 1, ConcurrentStreams = 0 });
        Assert.False(limits.Enter(7).IsRefused);

        Assert.Equal(isSeven, limits.Enter(new UserId(text)).IsRefused);
        Assert.True(limits.Enter(new UserId(text)).IsRefused);
    }

    private static UserLimits With(RateLimitOptions options) => new(new DaemonOptions { RateLimit = options });

    /// <summary>Number of limiters that the library keeps, read from its private field.</summary>
    private static int Remembered(UserLimits limits)
    {
        var current = Field(limits, "_limiters")!;
        return current.GetType().GetFields(BindingFlags.Instance | BindingFlags.NonPublic)
            .Select(field => field.GetValue(current))
            .OfType<System.Threading.RateLimiting.PartitionedRateLimiter<UserId>>()
            .Sum(limiter => ((System.Collections.ICollection)Field(limiter, "_limiters")!).Count);
    }

    private static object? Field(object target, string name) =>
        target.GetType().GetField(name, BindingFlags.Instance | BindingFlags.NonPublic)!.GetValue(target);
}
