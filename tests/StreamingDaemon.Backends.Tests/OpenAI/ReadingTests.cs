using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class ReadingTests
{
    private const string Done = "data: [DONE]\n\n";

    private static string Delta(string json) =>
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":" + json + "}}]}\n\n";

    [Theory]
    [InlineData("data: { \"choices\" : [ { \"index\" : 0 , \"delta\" : { \"content\" : \"x\" } } ] }\n\n")]
    [InlineData("data:{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n")]
    [InlineData("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\r\n\r\n")]
    [InlineData(": a comment\n\nevent: message\nid: 7\n"
        + "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n")]
    [InlineData("data: {\"choices\":[{\"delta\":{\"content\":\"no\"},\"index\":1},"
        + "{\"delta\":{\"content\":\"x\"},\"index\":0}]}\n\n")]
    [InlineData("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"x\","
        + "\"tool_calls\":[{\"a\":[1]}]}}]}\n\n")]
    [InlineData("data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"x\"}}]}\n\n")]
    [InlineData("\ufeffdata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"error\":null}\n\n")]
    public async Task Text_is_found_however_it_is_written(string events)
    {
        Assert.Equal("x", await ReadAsync(events + Done));
    }

    [Theory]
    [InlineData("data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n")]
    [InlineData("data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n")]
    [InlineData("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":null}}]}\n\n")]
    [InlineData("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}]}\n\n")]
    [InlineData("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"x\"}]}}]}\n\n")]
    [InlineData("data: {\"choices\":[{\"index\":0,\"delta\":null}]}\n\n")]
    [InlineData("data: {}\n\n")]
    [InlineData("data: {\"choices\":null}\n\n")]
    [InlineData("data:\n\n")]
    [InlineData(": keep-alive\n\n")]
    public async Task Event_without_text_is_passed_over(string events)
    {
        Assert.Equal("x", await ReadAsync(events + Delta("\"x\"") + events + Done));
    }

    [Theory]
    [InlineData("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t")]
    [InlineData("\"\\u00e9\\u65e5\"", "é日")]
    [InlineData("\"\\ud83c\\udf0d\"", "🌍")]
    [InlineData("\"a\\ud83cb\"", "a\ufffdb")]
    [InlineData("\"a\\udf0db\"", "a\ufffdb")]
    [InlineData("\"\\ud83c\\n\\ud83c\\u0041\\ud83c\"", "\ufffd\n\ufffdA\ufffd")]
    [InlineData("\"é日🌍\"", "é日🌍")]
    public async Task Escapes_become_characters_and_half_characters_a_replacement(
        string json, string expected)
    {
        Assert.Equal(expected, await ReadAsync(Delta(json) + Done));
    }

    [Fact]
    public async Task Delta_as_long_as_the_limit_allows_arrives_whole()
    {
        var text = new string('y', 900_000);
        Assert.Equal(text, await ReadAsync(Delta("\"" + text + "\"") + Done));
    }

    [Fact]
    public async Task Event_above_the_limit_fails_after_the_text_before_it()
    {
        var events = Delta("\"one\"") + Delta("\"two\"") + Delta("\"" + new string('y', 400) + "\"") + Done;
        await using var upstream = await BackendUnderTest.StartRawAsync(events, maxEventBytes: 256);
        var result = await upstream.StreamAsync();
        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        Assert.Contains("256 bytes", result.Reason, StringComparison.Ordinal);
        Assert.Equal(["one", "two"], upstream.Sink.Texts);
    }

    [Fact]
    public async Task Line_without_an_end_fails_and_stops_the_upstream()
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            configure: options => options with { MaxEventBytes = 100_000 },
            scenario: async exchange =>
            {
                await exchange.StartAsync();
                while (true)
                    await exchange.SendRawAsync(new string('z', 4096));
            });
        Assert.Equal(StreamOutcome.UpstreamError, (await upstream.StreamAsync()).Outcome);
        var request = await upstream.Server.NextRequestAsync(TestLimits.Wait);
        await request.Aborted.WithinLimit();
    }

    [Trait("Takes", "Long")]
    [Theory]
    [InlineData(": still here\n\n")]
    [InlineData("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}]}\n\n")]
    public async Task Comments_at_full_speed_end_as_an_error(string idle)
    {
        var piece = string.Concat(Enumerable.Repeat(idle, 1000));
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("x");
            while (true)
                await exchange.SendRawAsync(piece);
        });
        var result = await upstream.StreamAsync();
        Assert.Equal((StreamOutcome.UpstreamError, UpstreamFault.NoProgress), (result.Outcome, result.Fault));
        Assert.Equal(["x"], upstream.Sink.Texts);
        await (await upstream.Server.NextRequestAsync(TestLimits.Wait)).Aborted.WithinLimit();
    }

    [Theory]
    [InlineData("data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"code\":null}}\n\n",
        " (server_error)")]
    [InlineData("data: {\"error\":\"boom\"}\n\n", " (boom)")]
    [InlineData("data: {\"error\":\"it went boom\"}\n\n", "")]
    [InlineData("event: error\ndata: {\"message\":\"boom\",\"type\":\"overloaded\"}\n\n", " (overloaded)")]
    public async Task Error_inside_a_200_fails_after_the_text_before_it(string events, string word)
    {
        await using var upstream = await BackendUnderTest.StartRawAsync(
            Delta("\"x\"") + events + Delta("\"no\"") + Done);
        var result = await upstream.StreamAsync();
        Assert.Equal((StreamOutcome.UpstreamError, 200), (result.Outcome, result.UpstreamStatus));
        Assert.Equal("the upstream sent an error in its stream" + word, result.Reason);
        Assert.Equal(["x"], upstream.Sink.Texts);
    }

    [Theory]
    [InlineData("data: hello\n\n")]
    [InlineData("data: {\"choices\":[{\"delta\":{\"content\":\"cut\n\n")]
    [InlineData("data: {\"choices\":[]} trailing\n\n")]
    [InlineData("data: \"a string\"\n\n")]
    [InlineData("data: {\"choices\":[{\"delta\":{\"content\":\"bad \\x escape\"}}]}\n\n")]
    public async Task Event_that_is_no_json_object_fails(string events)
    {
        await using var upstream = await BackendUnderTest.StartRawAsync(Delta("\"x\"") + events + Done);
        var result = await upstream.StreamAsync();
        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        Assert.Contains("not a JSON object", result.Reason, StringComparison.Ordinal);
        Assert.Equal(["x"], upstream.Sink.Texts);
    }

    [Fact]
    public async Task DONE_completes_at_once_while_the_body_is_still_open()
    {
        var release = new TaskCompletionSource();
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("x");
            await exchange.SendDoneAsync();
            await release.Task;
        });
        Assert.Equal(BackendResult.Completed, await upstream.StreamAsync());
        Assert.False((await upstream.Server.NextRequestAsync(TestLimits.Wait)).Ended.IsCompleted);
        release.SetResult();
    }

    [Theory]
    [InlineData("\"stop\"", StreamOutcome.Completed)]
    [InlineData("\"length\"", StreamOutcome.Completed)]
    [InlineData("null", StreamOutcome.UpstreamTruncated)]
    [InlineData("\"\"", StreamOutcome.UpstreamTruncated)]
    public async Task Clean_end_without_DONE_is_whole_only_with_a_finish_reason(
        string reason, StreamOutcome outcome)
    {
        await using var upstream = await BackendUnderTest.StartRawAsync(
            Delta("\"x\"")
            + "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":" + reason + "}]}\n\n");
        Assert.Equal(outcome, (await upstream.StreamAsync()).Outcome);
        Assert.Equal(["x"], upstream.Sink.Texts);
    }

    [Fact]
    public async Task Text_after_the_finish_reason_still_arrives()
    {
        var finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        Assert.Equal("xy", await ReadAsync(Delta("\"x\"") + finish + Delta("\"y\"") + Done));
    }

    [Theory]
    [InlineData(FakeLlmTransport.Http1)]
    [InlineData(FakeLlmTransport.H2c)]
    public async Task Reset_in_the_middle_fails_after_the_text_before_it(FakeLlmTransport transport)
    {
        var received = new TaskCompletionSource();
        await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendRawAsync("id: 1\nretry: 1\n");
            await exchange.SendDeltaAsync("x");
            await received.Task;
            exchange.Reset();
        });
        upstream.Sink = new RecordingSink { OnWrite = _ => { received.SetResult(); return default; } };
        var result = await upstream.StreamAsync();
        Assert.Equal((StreamOutcome.UpstreamError, 200), (result.Outcome, result.UpstreamStatus));
        Assert.Contains("broke off", result.Reason, StringComparison.Ordinal);
        // The id above invites a client to resume: a prompt sent twice would be paid for twice.
        Assert.Single(upstream.Server.Requests);
        Assert.Equal(["x"], upstream.Sink.Texts);
    }

    [Fact]
    public async Task Comments_count_as_activity()
    {
        var sink = new RecordingSink();
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendRawAsync(": one\n\n");
            await sink.FirstActivity;
            await exchange.SendDeltaAsync("x");
            await exchange.SendDoneAsync();
        });
        upstream.Sink = sink;
        Assert.Equal(BackendResult.Completed, await upstream.StreamAsync());
        Assert.Equal(["x"], sink.Texts);
    }

    private static async Task<string> ReadAsync(string events)
    {
        await using var upstream = await BackendUnderTest.StartRawAsync(events);
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
        Assert.False(upstream.Sink.DeltaBeforeStart);
        return upstream.Sink.Whole;
    }
}
