using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class ErrorTests
{
    [Theory]
    [InlineData(400, "application/json",
        """{"error":{"message":"Bad model","type":"invalid_request_error","code":"model_not_found"}}""",
        " (invalid_request_error/model_not_found); it does not have the model 'gpt-4o-mini',"
        + " named by OPENAI_MODEL (openai.model)")]
    [InlineData(401, "application/json",
        """{"error":{"message":"Bad key: sk-secret-0123456789.","code":"invalid_api_key"}}""",
        " (invalid_api_key)")]
    [InlineData(422, "application/json", """{"detail":"Field required"}""", "")]
    [InlineData(404, "application/json", """{"error":"slow down"}""", "")]
    [InlineData(403, "text/plain", "oh\r\nno\u001b[31m", "")]
    public async Task Refusal_is_a_failure_with_the_status_and_no_more_than_the_errors_name(
        int status, string contentType, string body, string reasonEnd)
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            scenario: exchange => exchange.RespondAsync(status, contentType, body));
        var result = await upstream.StreamAsync();
        Assert.Equal((StreamOutcome.UpstreamError, status), (result.Outcome, result.UpstreamStatus));
        Assert.Equal($"the upstream answered HTTP {status}{reasonEnd}", result.Reason);
        Assert.Equal(0, upstream.Sink.Started);
    }

    [Theory]
    [InlineData("application/json",
        """{"error":{"message":"x","type":"invalid_request_error","code":"model_not_found"}}""",
        "the upstream answered with an error under HTTP 200 (invalid_request_error/model_not_found)")]
    [InlineData("text/event-stream", "data: {\"error\":\"model 'm' not found\"}\n\n",
        "the upstream sent an error in its stream")]
    [InlineData("text/event-stream", "event: error\ndata: {\"code\":\"DeploymentNotFound\"}\n\n",
        "the upstream sent an error in its stream (DeploymentNotFound)")]
    public async Task Error_under_200_about_the_model_names_it(string contentType, string body, string reason)
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            scenario: exchange => exchange.RespondAsync(200, contentType, body));
        var result = await upstream.StreamAsync();
        Assert.Equal($"{reason}; it does not have the model 'gpt-4o-mini', named by OPENAI_MODEL (openai.model)",
            result.Reason);
    }

    [Fact]
    public async Task Error_body_that_never_ends_is_waited_for_no_longer_than_its_limit()
    {
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync(400, "text/plain");
            await exchange.SendRawAsync("half");
            await exchange.WaitForAbortAsync(TestLimits.Wait);
        });
        var result = await upstream.StreamAsync();
        Assert.Equal("the upstream answered HTTP 400", result.Reason);
        await (await upstream.Server.NextRequestAsync(TestLimits.Wait)).Aborted.WithinLimit();
    }

    [Fact]
    public async Task Event_stream_with_a_charset_is_one()
    {
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync(contentType: "Text/Event-Stream; charset=utf-8");
            await exchange.SendDeltaAsync("x");
            await exchange.SendDoneAsync();
        });
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
    }

    [Fact]
    public async Task What_the_sink_throws_is_not_blamed_on_the_upstream()
    {
        await using var upstream = await BackendUnderTest.StartAsync();
        upstream.Sink = new RecordingSink { OnWrite = _ => throw new IOException("the sink's") };
        var thrown = await Assert.ThrowsAsync<IOException>(() => upstream.StreamAsync());
        Assert.Equal("the sink's", thrown.Message);
    }
}
