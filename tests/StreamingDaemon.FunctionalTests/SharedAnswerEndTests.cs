using System.Collections.Concurrent;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What two daemons make of an answer that failed, or grew too long.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerEndTests
{
    /// <summary>No head is sent before there is something to show, however slow the machine is.</summary>
    private const string NoHead = "[streaming]\nhead_wait_ms = 15000";

    private static readonly string s_word = new('x', 1000);

    [Fact]
    public async Task Answer_that_failed_with_nothing_to_show_is_asked_again_at_once_by_any_daemon()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await FakeLlmServer.StartAsync();
        var calls = new ConcurrentDictionary<string, int>();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            if (calls.AddOrUpdate(exchange.Request.Body, 1, (_, count) => count + 1) == 1)
            {
                await exchange.SendRawAsync("data: {\"error\":{\"code\":\"invalid_api_key\"}}\n\n");
                return;
            }

            await exchange.SendDeltaAsync("one");
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var one = await upstream.StartSharedAsync(redis);
        await using var two = await upstream.StartSharedAsync(redis);

        for (var i = 0; i < 20; i++)
        {
            var handoff = $$"""{"prompt":"hi {{i}}","keep":true,"request_id":"a{{i}}"}""";
            Assert.StartsWith("HTTP/1.1 502", (await one.AskAsync(handoff)).StatusLine, StringComparison.Ordinal);
            var again = await (i % 2 == 0 ? two : one).AskAsync(handoff);
            Assert.Equal(["id: 1\ndata: {\"content\":\"one\"}", "id: 2\ndata: [DONE]"], again.Events);
        }

        Assert.All(calls.Values, count => Assert.Equal(2, count));
    }

    [Fact]
    public async Task Reader_on_another_daemon_gets_the_failure_of_an_answer_with_nothing_to_show()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await goOn.Task.WaitAsync(TestClient.Patience);
            await exchange.SendRawAsync("data: {\"error\":{\"code\":\"invalid_api_key\"}}\n\n");
        };
        await using var one = await upstream.StartSharedAsync(redis, NoHead);
        await using var two = await upstream.StartSharedAsync(redis, NoHead);
        const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a"}""";
        var first = one.AskAsync(Handoff);
        await upstream.NextRequestAsync(TestClient.Patience);
        var second = two.AskAsync(Handoff);
        await Eventually.TrueAsync(async () => (await two.MetricValuesAsync())[
            "streaming_daemon_answers_total{event=\"joined\"}"] == 1);
        goOn.SetResult();

        Assert.Equal((await first).Raw, (await second).Raw);
        Assert.Equal("HTTP/1.1 502 Bad Gateway", (await first).StatusLine);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Name_of_an_answer_that_is_too_long_is_not_free_for_another_call(bool shared)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource();
        var calls = 0;
        upstream.Scenario = async exchange =>
        {
            Interlocked.Increment(ref calls);
            await exchange.StartAsync();
            for (var i = 0; i < 100; i++)
                await exchange.SendDeltaAsync(s_word);
            await goOn.Task.WaitAsync(TestClient.Patience);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var one = await upstream.StartSharedAsync(redis, "max_answer_bytes = \"64Ki\"");
        await using var two = await upstream.StartSharedAsync(redis, "max_answer_bytes = \"64Ki\"");
        const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a"}""";
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await Eventually.TrueAsync(() => one.LogLines("AnswerNoLongerKept").Count == 1);
        var other = shared ? two : one;
        await Eventually.TrueAsync(async () => (await redis.CommandAsync("GET", "streaming-daemon:{-:a}:lease"))
            .Contains("gone", StringComparison.Ordinal));

        Assert.Equal("HTTP/1.1 404 Not Found", (await other.AskAsync(Handoff)).StatusLine);
        Assert.Equal("HTTP/1.1 404 Not Found", (await other.AskAsync("""{"resume":"a","last_event_id":3}""")).StatusLine);
        goOn.SetResult();
        Assert.EndsWith("id: 101\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(first), StringComparison.Ordinal);
        Assert.Equal("HTTP/1.1 404 Not Found", (await other.AskAsync(Handoff)).StatusLine);
        Assert.Equal(1, calls);
    }

    [Fact]
    public async Task Answer_that_is_too_long_when_it_ends_is_not_read_in_part_on_another_daemon()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendRawAsync(string.Concat(Enumerable.Repeat(
                $"data: {{\"choices\":[{{\"delta\":{{\"content\":\"{s_word}\"}}}}]}}\n\n", 100)) + "data: [DONE]\n\n");
        };
        await using var one = await upstream.StartSharedAsync(redis, "max_answer_bytes = \"64Ki\"");
        await using var two = await upstream.StartSharedAsync(redis);

        Assert.EndsWith("data: [DONE]", (await one.AskAsync("""{"prompt":"hi","keep":true,"request_id":"a"}"""))
            .Events[^1], StringComparison.Ordinal);
        await Eventually.TrueAsync(async () => !(await redis.CommandAsync("GET", "streaming-daemon:{-:a}:lease"))
            .StartsWith("$32", StringComparison.Ordinal));

        Assert.Equal("HTTP/1.1 404 Not Found", (await two.AskAsync("""{"resume":"a"}""")).StatusLine);
    }

    [Fact]
    public async Task Stop_ends_an_answer_that_is_too_long_too()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < 100; i++)
                await exchange.SendDeltaAsync(s_word);
            await exchange.WaitForAbortAsync(TestClient.Patience);
        };
        using var directory = new TempDirectory();
        var file = directory.File("answers.toml");
        await File.WriteAllTextAsync(file, "[answers]\nmax_answer_bytes = \"64Ki\"\n");
        await using var daemon = await upstream.StartDaemonAsync("--config", file);
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","keep":true,"request_id":"a"}""");
        await Eventually.TrueAsync(() => daemon.LogLines("AnswerNoLongerKept").Count == 1);

        Assert.Equal("{\"stopped\":true,\"request_id\":\"a\"}\n", (await daemon.AskAsync("""{"stop":"a"}""")).Body);

        Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stop_from_another_daemon_says_how_the_answer_did_end()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await FakeLlmServer.StartAsync();
        var isToEnd = new TaskCompletionSource();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await isToEnd.Task.WaitAsync(TestClient.Patience);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var one = await upstream.StartSharedAsync(redis);
        await using var two = await upstream.StartSharedAsync(redis);
        for (var i = 0; i < 8; i++)
        {
            isToEnd = new TaskCompletionSource();
            using var client = TestClient.HandOver(one.SocketPath,
                $$"""{"prompt":"hi","keep":true,"request_id":"s{{i}}","user_id":7}""");
            await TestClient.ReadUntilAsync(client, "one\"}\n\n");
            var key = $"streaming-daemon:{{u7:s{i}}}:";
            await Eventually.TrueAsync(async () =>
                (await redis.CommandAsync("EXISTS", key + "events")) == ":1\r\n");

            // It ends by itself before its daemon has heard of the stop, or after.
            var asking = two.AskAsync($$"""{"stop":"s{{i}}","user_id":7}""");
            await Eventually.TrueAsync(async () =>
                (await redis.CommandAsync("EXISTS", key + "stop")) == ":1\r\n");
            if (i < 6)
                isToEnd.SetResult();
            var asked = await asking;

            await Eventually.TrueAsync(() => one.LogLines("AnswerEnded").Count == i + 1);
            var isStopped = one.LogLines("AnswerEnded")[i].Contains("\"Outcome\":\"Stopped\"", StringComparison.Ordinal);
            Assert.True(isStopped || i < 6);
            var expected = $$"""{"stopped":{{(isStopped ? "true" : "false")}},"request_id":"s{{i}}"}""" + "\n";
            Assert.Equal(expected, asked.Body);
            // The same again, by either daemon.
            Assert.Equal(expected, (await two.AskAsync($$"""{"stop":"s{{i}}","user_id":7}""")).Body);
            Assert.Equal(expected, (await one.AskAsync($$"""{"stop":"s{{i}}","user_id":7}""")).Body);
        }
    }
}
