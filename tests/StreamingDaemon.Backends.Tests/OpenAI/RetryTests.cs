using System.Diagnostics;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class RetryTests
{
    [Theory]
    [InlineData("status_429_json", FakeLlmTransport.Http1)]
    [InlineData("status_503_html", FakeLlmTransport.Http1)]
    [InlineData("reset_before_head", FakeLlmTransport.Http1)]
    [InlineData("status_529_empty", FakeLlmTransport.H2c)]
    [InlineData("status_500_endless", FakeLlmTransport.H2c)]
    [InlineData("reset_before_head", FakeLlmTransport.H2c)]
    public async Task Fault_that_passes_costs_the_reader_nothing(string fault, FakeLlmTransport transport)
    {
        await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: FailFirst(2, fault));

        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);

        Assert.Equal(FakeLlmScenarios.Words, upstream.Sink.Texts);
        Assert.Equal((1, 2), (upstream.Sink.Started, upstream.Sink.Retries.Count));
        // Each attempt is the same request.
        Assert.Equal(3, upstream.Server.Requests.Count);
        Assert.Single(upstream.Server.Requests.Select(request => request.Body).Distinct());
        Assert.Single(upstream.Server.Requests.Select(request => request.Headers["X-Request-Id"]).Distinct());
        Assert.Contains("Hello", upstream.Server.Requests.Last().Body, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4)]
    public async Task Upstream_is_asked_once_and_then_as_often_as_max_retries_says(int maxRetries)
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            configure: options => options with { MaxRetries = maxRetries },
            scenario: FakeLlmFaults.Named("status_503_json"));
        var result = await upstream.StreamAsync();
        Assert.Equal(1 + maxRetries, upstream.Server.Requests.Count);
        Assert.Equal(
            "the upstream answered HTTP 503 (some_error)"
                + (maxRetries == 0 ? "" : $", after {maxRetries} of {maxRetries} retries"),
            result.Reason);
    }

    [Theory]
    [InlineData("3600", 3600)]
    [InlineData("Fri, 31 Dec 9999 23:59:59 GMT", 315_360_000)]
    public async Task Retry_after_that_does_not_fit_into_the_window_ends_the_attempts(string header, int seconds)
    {
        await using var upstream = await BackendUnderTest.StartAsync(scenario: exchange =>
        {
            exchange.Context.Response.Headers.RetryAfter = header;
            return exchange.StartAsync(429, null);
        });
        var result = await upstream.StreamAsync();
        Assert.Equal(
            (UpstreamFault.RateLimited, TimeSpan.FromSeconds(seconds)), (result.Fault, result.RetryAfter));
        Assert.Single(upstream.Server.Requests);
    }

    [Fact]
    public async Task Retry_after_that_fits_is_waited_for()
    {
        var arrivals = new List<long>();
        var failFirst = FailFirst(1, "status_429_empty");
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            arrivals.Add(Environment.TickCount64);
            exchange.Context.Response.Headers.RetryAfter = "1";
            await failFirst(exchange);
        });
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
        // Checks only a minimum, not how fast it is: 20 ms for the coarse clock.
        Assert.InRange(arrivals[1] - arrivals[0], 980, long.MaxValue);
    }

    [Theory]
    [InlineData("retry-after-ms", "200", 200)]
    [InlineData("Retry-After", "0.3", 300)]
    public async Task Short_wait_that_the_upstream_asks_for_is_never_cut_shorter(
        string header, string value, int milliseconds)
    {
        var arrivals = new List<long>();
        var failFirst = FailFirst(2, "status_429_empty");
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            arrivals.Add(Stopwatch.GetTimestamp());
            exchange.Context.Response.Headers[header] = value;
            await failFirst(exchange);
        });
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
        for (var i = 1; i < 3; i++)
        {
            Assert.InRange(Stopwatch.GetElapsedTime(arrivals[i - 1], arrivals[i]).TotalMilliseconds,
                milliseconds, double.MaxValue);
        }
    }

    [Theory]
    [InlineData(429, """{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}""", null)]
    [InlineData(503, """{"error":{"code":"content_filter"}}""", "true")]
    [InlineData(429, "{}", "false")]
    public async Task Refusal_that_will_not_change_is_asked_for_once(int status, string body, string? shouldRetry)
    {
        foreach (var transport in (FakeLlmTransport[])[FakeLlmTransport.Http1, FakeLlmTransport.H2c])
        {
            await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: exchange =>
            {
                exchange.Context.Response.Headers["x-should-retry"] = shouldRetry;
                return exchange.RespondAsync(status, "application/json", body);
            });
            Assert.Equal(status, (await upstream.StreamAsync()).UpstreamStatus);
            Assert.Single(upstream.Server.Requests);
        }
    }

    [Theory]
    [InlineData(408)]
    [InlineData(409)]
    [InlineData(520)]
    [InlineData(530)]
    public async Task Passing_status_is_asked_again(int status)
    {
        await using var upstream =
            await BackendUnderTest.StartAsync(scenario: FailFirst(1, $"status_{status}_json"));
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
        Assert.Equal(2, upstream.Server.Requests.Count);
    }

    [Fact]
    public async Task Window_that_is_closed_allows_one_attempt()
    {
        await using var upstream = await BackendUnderTest.StartAsync(scenario: FakeLlmFaults.Named("status_503_json"));
        var result = await upstream.StreamAsync(BackendUnderTest.Prompt with { RetryWindow = TimeSpan.Zero });
        Assert.Equal(UpstreamFault.ServerError, result.Fault);
        Assert.Single(upstream.Server.Requests);
    }

    [Fact]
    public async Task Client_that_leaves_between_two_attempts_ends_them()
    {
        await using var upstream = await BackendUnderTest.StartAsync(scenario: exchange =>
        {
            exchange.Context.Response.Headers.RetryAfter = "600";
            return exchange.StartAsync(503, null);
        });
        using var client = new CancellationTokenSource();
        var request = BackendUnderTest.Prompt with { RetryWindow = TimeSpan.FromHours(1) };
        var streaming = upstream.StreamAsync(request, client.Token);
        await (await upstream.Server.NextRequestAsync(TestLimits.Wait)).Ended.WithinLimit();

        await client.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => streaming);
        Assert.Single(upstream.Server.Requests);
        Assert.Empty(upstream.Sink.Retries);
    }

    [Fact]
    public async Task Three_hundred_streams_do_not_ask_three_times_each_what_is_down_for_all()
    {
        await using var upstream = await BackendUnderTest.StartAsync(scenario: FakeLlmFaults.Named("status_503_empty"));
        var results = await Task.WhenAll(Enumerable.Range(0, 300).Select(_ =>
            upstream.Backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default))).WithinLimit();
        Assert.All(results, result => Assert.Equal(UpstreamFault.ServerError, result.Fault));
        Assert.Equal(300 + RetryBudget.Reserve, upstream.Server.Requests.Count);
    }

    [Fact]
    public async Task Server_that_answered_before_and_drops_the_handshake_is_restarting_and_asked_again()
    {
        var upstream = await BackendUnderTest.StartAsync();
        using var backend = upstream.Backend;
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
        await upstream.Server.DisposeAsync();
        await using var restarting =
            new BrokenServer(BrokenServerKind.Resets, upstream.Server.BaseAddress.Port);
        upstream.Sink = new RecordingSink();

        var result = await upstream.StreamAsync();

        Assert.Equal(UpstreamFault.Reset, result.Fault);
        Assert.Equal([UpstreamFault.Reset, UpstreamFault.Reset], upstream.Sink.Retries);
    }

    private static Func<FakeLlmExchange, Task> FailFirst(int count, string fault)
    {
        var seen = 0;
        return exchange => Interlocked.Increment(ref seen) <= count
            ? FakeLlmFaults.Named(fault)(exchange)
            : FakeLlmScenarios.RunAsync(exchange);
    }
}
