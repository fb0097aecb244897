using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class RetryPolicyTests
{
    private static readonly BackendResult s_reset = BackendResult.Failed(UpstreamFault.Reset, "");

    private static readonly TimeSpan s_window = TimeSpan.FromMinutes(1);

    public static TheoryData<UpstreamFault, int?, bool> Faults
    {
        get
        {
            UpstreamFault[] passing =
                [UpstreamFault.Dns, UpstreamFault.Connect, UpstreamFault.ConnectTimeout, UpstreamFault.Reset];
            var data = new TheoryData<UpstreamFault, int?, bool>();
            foreach (var fault in Enum.GetValues<UpstreamFault>())
            {
                if (fault is UpstreamFault.ServerError or UpstreamFault.ClientError)
                    continue;
                data.Add(fault, null, passing.Contains(fault) || fault == UpstreamFault.RateLimited);
            }

            foreach (var status in (int[])[500, 502, 503, 504, 507, .. Enumerable.Range(520, 11)])
                data.Add(UpstreamFault.ServerError, status, true);
            foreach (var status in (int[])[501, 505, 511, 599])
                data.Add(UpstreamFault.ServerError, status, false);
            foreach (var status in (int[])[408, 409])
                data.Add(UpstreamFault.ClientError, status, true);
            foreach (var status in (int[])[400, 402, 404, 405, 410, 413, 422, 451])
                data.Add(UpstreamFault.ClientError, status, false);
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public void Only_faults_that_pass_and_come_before_the_stream_are_retried(
        UpstreamFault fault, int? status, bool expected) =>
        Assert.Equal(expected, new RetryPolicy(2).TryPlan(
            BackendResult.Failed(fault, "", status), 0, s_window, out _));

    [Fact]
    public void Whole_answer_is_not_retried() =>
        Assert.False(new RetryPolicy(2).TryPlan(BackendResult.Completed, 0, s_window, out _));

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(10)]
    public void There_are_as_many_retries_as_are_allowed(int maxRetries)
    {
        var policy = new RetryPolicy(maxRetries);
        var retries = 0;
        while (policy.TryPlan(s_reset, retries, s_window, out _))
            retries++;
        Assert.Equal(maxRetries, retries);
    }

    [Fact]
    public void Backoff_doubles_up_to_its_limit_and_is_drawn_from_zero_on()
    {
        var latest = new RetryPolicy(20, () => 1);
        var soonest = new RetryPolicy(20, () => 0);
        foreach (var (retries, ms) in ((int, int)[])[(0, 200), (1, 400), (2, 800), (4, 3200), (5, 5000), (19, 5000)])
        {
            Assert.True(latest.TryPlan(s_reset, retries, s_window, out var wait));
            Assert.Equal(TimeSpan.FromMilliseconds(ms), wait);
            Assert.True(soonest.TryPlan(s_reset, retries, s_window, out wait));
            Assert.Equal(TimeSpan.Zero, wait);
        }
    }

    [Theory]
    [InlineData(3000, 0.0, 3000)]
    [InlineData(3000, 0.5, 3100)]
    [InlineData(0, 0.5, 100)]
    public void Retry_after_is_the_least_wait(int retryAfterMs, double random, int expectedMs)
    {
        var failed = s_reset with { RetryAfter = TimeSpan.FromMilliseconds(retryAfterMs) };
        Assert.True(new RetryPolicy(2, () => random).TryPlan(failed, 0, s_window, out var wait));
        Assert.Equal(TimeSpan.FromMilliseconds(expectedMs), wait);
    }

    [Theory]
    [InlineData(1001, true)]
    [InlineData(1000, false)]
    [InlineData(0, false)]
    [InlineData(-1, false)]
    public void Retry_that_would_begin_after_the_head_must_leave_is_not_made(int leftMs, bool expected)
    {
        var failed = s_reset with { RetryAfter = TimeSpan.FromSeconds(1) };
        Assert.Equal(expected, new RetryPolicy(2, () => 0).TryPlan(
            failed, 0, TimeSpan.FromMilliseconds(leftMs), out _));
    }

    [Fact]
    public void Retry_that_is_not_made_costs_no_budget()
    {
        var policy = new RetryPolicy(2);
        for (var i = 0; i < 10 * RetryBudget.Reserve; i++)
            policy.TryPlan(s_reset, 0, TimeSpan.Zero, out _);
        Assert.Equal(RetryBudget.Reserve, CountRetries(policy));
    }

    [Fact]
    public void Upstream_that_is_down_is_retried_until_the_reserve_is_spent_and_again_when_it_answers()
    {
        var policy = new RetryPolicy(2);
        Assert.Equal(RetryBudget.Reserve, CountRetries(policy));
        for (var i = 0; i < 5 * RetryBudget.RequestsPerRetry; i++)
            policy.OnAccepted();
        Assert.Equal(5, CountRetries(policy));
    }

    [Fact]
    public void Successes_save_up_no_more_than_the_reserve()
    {
        var policy = new RetryPolicy(2);
        for (var i = 0; i < 10_000; i++)
            policy.OnAccepted();
        Assert.Equal(RetryBudget.Reserve, CountRetries(policy));
    }

    [Fact]
    public void Budget_is_neither_lost_nor_doubled_between_threads()
    {
        var budget = new RetryBudget();
        var withdrawn = 0;
        // Each thread takes as much as it pays in; in the end exactly the reserve is left.
        Parallel.For(0, 8, _ =>
        {
            for (var i = 0; i < 10_000; i++)
            {
                if (!budget.TryWithdraw())
                    continue;
                Interlocked.Increment(ref withdrawn);
                for (var part = 0; part < RetryBudget.RequestsPerRetry; part++)
                    budget.Deposit();
            }
        });
        Assert.Equal(80_000, withdrawn);
        var left = 0;
        while (budget.TryWithdraw())
            left++;
        Assert.Equal(RetryBudget.Reserve, left);
    }

    [Theory]
    [InlineData("7", 7.0)]
    [InlineData(" 7 ", 7.0)]
    [InlineData("0", 0.0)]
    [InlineData("Wed, 01 Jan 2025 00:00:30 GMT", 30.0)]
    [InlineData("Wednesday, 01-Jan-25 00:00:30 GMT", 30.0)]
    [InlineData("Tue, 31 Dec 2024 00:00:00 GMT", 0.0)]
    [InlineData("99999999999999999", 315_360_000.0)]
    [InlineData("Fri, 31 Dec 9999 23:59:59 GMT", 315_360_000.0)]
    [InlineData("-1", null)]
    [InlineData("1.5", 1.5)]
    [InlineData(".25", 0.25)]
    [InlineData("1.5e3", null)]
    [InlineData("\"20\"", 20.0)]
    [InlineData("1m3s", 63.0)]
    [InlineData("1h0m0.5s", 3600.5)]
    [InlineData("1500ms", 1.5)]
    [InlineData("2m", 120.0)]
    [InlineData("20 seconds", 20.0)]
    [InlineData("1 minute 5 sec", 65.0)]
    [InlineData("2025-01-01T00:00:30Z", 30.0)]
    [InlineData("1735689630", 30.0)]
    [InlineData("1735689630000", 30.0)]
    [InlineData("30; comment=x", 30.0)]
    [InlineData("\"\"", null)]
    [InlineData("1m3", null)]
    [InlineData("m", null)]
    [InlineData("1 fortnight", null)]
    [InlineData("99999999999999999h", null)]
    [InlineData("30,120", 30.0)]
    [InlineData("99999999999999999999999", null)]
    [InlineData("soon", null)]
    [InlineData("", null)]
    [InlineData(null, null)]
    public void Retry_after_is_read_as_seconds_or_as_a_date(string? header, double? seconds)
    {
        var now = new DateTimeOffset(2025, 1, 1, 0, 0, 0, TimeSpan.Zero);
        Assert.Equal(
            seconds is { } expected ? TimeSpan.FromSeconds(expected) : null, UpstreamRetryAfter.Parse(header, now));
    }

    [Theory]
    [InlineData("200", 200.0)]
    [InlineData("0.5", 0.5)]
    [InlineData("-200", null)]
    [InlineData("NaN", null)]
    [InlineData("1e9", null)]
    public void Retry_after_ms_is_read_with_its_fraction(string header, double? milliseconds) => Assert.Equal(
        milliseconds is { } expected ? TimeSpan.FromMilliseconds(expected) : null,
        UpstreamRetryAfter.ParseMilliseconds(header));

    [Fact]
    public void Retry_after_ms_counts_before_retry_after_if_it_can_be_read()
    {
        using var response = new HttpResponseMessage();
        response.Headers.TryAddWithoutValidation("Retry-After", ["soon", "2"]);
        Assert.Equal(TimeSpan.FromSeconds(2), RetryAfterOf(response));
        response.Headers.TryAddWithoutValidation("retry-after-ms", "?");
        Assert.Equal(TimeSpan.FromSeconds(2), RetryAfterOf(response));
        response.Headers.TryAddWithoutValidation("retry-after-ms", "150");
        Assert.Equal(TimeSpan.FromMilliseconds(150), RetryAfterOf(response));
    }

    private static TimeSpan? RetryAfterOf(HttpResponseMessage response) =>
        UpstreamRetryAfter.Of(response.Headers.NonValidated, DateTimeOffset.UtcNow);

    private static int CountRetries(RetryPolicy policy)
    {
        var count = 0;
        while (policy.TryPlan(s_reset, 0, s_window, out _))
            count++;
        return count;
    }
}
