using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Kept answers in Redis: two daemons, one answer.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerTests
{
    private const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""";
    private const string Resume = """{"resume":"a","user_id":7}""";

    [Fact]
    public async Task Another_daemon_reads_a_running_answer_from_any_event_on_and_a_finished_one()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await StartAsync(redis, upstream);
        await using var two = await StartAsync(redis, upstream);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        var begun = await TestClient.ReadUntilAsync(first, "two\"}\n\n");

        using var second = TestClient.HandOver(two.SocketPath, """{"resume":"a","last_event_id":1,"user_id":7}""");
        var rest = await TestClient.ReadUntilAsync(second, "two\"}\n\n");
        upstream.GoOn();
        begun += await TestClient.ReadTextAsync(first);
        rest += await TestClient.ReadTextAsync(second);

        Assert.EndsWith("id: 4\ndata: [DONE]\n\n", begun, StringComparison.Ordinal);
        Assert.Equal(BodyOf(begun)[(BodyOf(begun).IndexOf("\n\n", StringComparison.Ordinal) + 2)..], BodyOf(rest));
        Assert.Equal(begun, (await two.AskAsync(Resume)).Raw);
        Assert.StartsWith("HTTP/1.1 404", (await two.AskAsync("""{"resume":"a","user_id":8}""")).StatusLine,
            StringComparison.Ordinal);
        Assert.Equal(1, upstream.Calls);
    }

    [Fact]
    public async Task Same_handoff_on_another_daemon_joins_the_answer_and_the_model_is_asked_once()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await StartAsync(redis, upstream);
        await using var two = await StartAsync(redis, upstream);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        var begun = await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        using var second = TestClient.HandOver(two.SocketPath, Handoff);
        var joined = await TestClient.ReadUntilAsync(second, "two\"}\n\n");
        upstream.GoOn();

        begun += await TestClient.ReadTextAsync(first);
        joined += await TestClient.ReadTextAsync(second);

        Assert.Equal(begun, joined);
        Assert.Equal(begun, (await two.AskAsync(Handoff)).Raw);
        Assert.Equal(1, upstream.Calls);
        Assert.Equal("joined", (await two.AccessLogAsync(1))[0].GetProperty("Answer").GetString());
    }

    [Fact]
    public async Task Another_daemon_stops_the_answer_for_all_its_readers()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await StartAsync(redis, upstream);
        await using var two = await StartAsync(redis, upstream);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        using var second = TestClient.HandOver(two.SocketPath, Resume);
        await TestClient.ReadUntilAsync(second, "two\"}\n\n");

        Assert.Equal("{\"stopped\":true,\"request_id\":\"a\"}\n",
            (await two.AskAsync("""{"stop":"a","user_id":7}""")).Body);

        Assert.EndsWith("id: 3\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(first), StringComparison.Ordinal);
        Assert.EndsWith("id: 3\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(second), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Readers_of_a_daemon_that_was_killed_get_what_there_is_and_an_error_on_another()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await StartAsync(redis, upstream);
        await using var two = await StartAsync(redis, upstream);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        using var second = TestClient.HandOver(two.SocketPath, Resume);
        var read = await TestClient.ReadUntilAsync(second, "two\"}\n\n");

        one.Signal(9);
        var died = DateTime.UtcNow;
        read += await TestClient.ReadTextAsync(second);

        Assert.InRange(DateTime.UtcNow - died, TimeSpan.Zero, TimeSpan.FromSeconds(10));
        Assert.Contains("\"code\":\"upstream_broke_off\"", read, StringComparison.Ordinal);
        // No event of the answer: it has no id.
        Assert.Contains("two\"}\n\ndata: {\"error\"", read, StringComparison.Ordinal);
        // Who has all that there is gets a status, at which an EventSource stops; a page tells what happened.
        foreach (var last in (int[])[2, 17])
        {
            var back = await two.AskAsync($$"""{"resume":"a","last_event_id":{{last}},"user_id":7}""");
            Assert.Equal("HTTP/1.1 502 Bad Gateway", back.StatusLine);
            Assert.Contains("upstream_broke_off", back.Body, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Readers_of_a_killed_daemon_that_only_read_go_on_at_the_one_that_makes_the_answer()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await StartAsync(redis, upstream);
        await using var two = await StartAsync(redis, upstream);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        var begun = await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        using var second = TestClient.HandOver(two.SocketPath, Resume);
        var read = await TestClient.ReadUntilAsync(second, "two\"}\n\n");

        two.Signal(9);
        read += await TestClient.ReadTextAsync(second);
        using var back = TestClient.HandOver(one.SocketPath, """{"resume":"a","last_event_id":2,"user_id":7}""");
        upstream.GoOn();
        begun += await TestClient.ReadTextAsync(first);

        Assert.EndsWith("id: 4\ndata: [DONE]\n\n", begun, StringComparison.Ordinal);
        Assert.Equal(begun, read + BodyOf(await TestClient.ReadTextAsync(back)));
        Assert.Equal(1, upstream.Calls);
    }

    [Fact]
    public async Task Streams_go_on_unkept_while_Redis_is_gone_and_are_kept_again_when_it_is_back()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var daemon = await StartAsync(redis, upstream);
        using var running = TestClient.HandOver(daemon.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(running, "two\"}\n\n");

        await redis.KillAsync();
        upstream.GoOn();
        Assert.EndsWith("id: 4\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(running), StringComparison.Ordinal);
        await Eventually.TrueAsync(async () =>
            (await daemon.HealthAsync()).Body.GetProperty("answers_redis").GetString() == "unavailable");
        var unkept = await daemon.AskAsync("""{"prompt":"hi","keep":true,"request_id":"b","user_id":7}""");
        Assert.Equal(Answer.StreamHead, unkept.Head);
        Assert.True(unkept.IsDone);
        Assert.Equal(200, (await daemon.HealthAsync("/health/ready")).Status);
        Assert.Equal(0, (await daemon.MetricValuesAsync())["streaming_daemon_answers_redis_up"]);
        var gone = await daemon.AskAsync("""{"resume":"c","user_id":7}""");
        Assert.StartsWith("HTTP/1.1 503", gone.StatusLine, StringComparison.Ordinal);
        Assert.Contains("answers_unavailable", gone.Body, StringComparison.Ordinal);

        await redis.StartAgainAsync();
        await Eventually.TrueAsync(async () =>
            (await daemon.HealthAsync()).Body.GetProperty("answers_redis").GetString() == "ok");
        var kept = await daemon.AskAsync("""{"prompt":"hi","keep":true,"request_id":"d","user_id":7}""");
        Assert.Contains("X-Answer-Id: d", kept.Head, StringComparison.Ordinal);
        Assert.Single(daemon.LogLines("RedisUnavailable"));
    }

    [Fact]
    public async Task Redis_that_hangs_delays_a_handoff_by_no_more_than_its_timeout()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await StartAsync(redis, upstream);
        Assert.Contains("X-Answer-Id", (await daemon.AskAsync(Handoff)).Head, StringComparison.Ordinal);

        Posix.Kill(redis.Pid, 19);
        try
        {
            for (var i = 0; i < 20; i++)
            {
                var answer = await daemon.AskAsync($$"""{"prompt":"hi","keep":true,"request_id":"s{{i}}"}""");
                Assert.EndsWith("data: [DONE]", answer.Events[^1], StringComparison.Ordinal);
            }
        }
        finally
        {
            Posix.Kill(redis.Pid, 18);
        }

        await Eventually.TrueAsync(async () =>
            (await daemon.HealthAsync()).Body.GetProperty("answers_redis").GetString() == "ok");
    }

    [Fact]
    public async Task Password_of_Redis_comes_from_a_file_and_a_wrong_one_is_named_and_not_shown()
    {
        await using var redis = await RedisServer.StartAsync("--requirepass", "secret-of-redis");
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        using var directory = new TempDirectory();
        var file = directory.File("password");
        await File.WriteAllTextAsync(file, "secret-of-redis\n");
        await using var right = await StartAsync(redis, upstream, $"redis_password_file = \"{file}\"");
        await using var wrong = await StartAsync(redis, upstream);

        Assert.Contains("X-Answer-Id", (await right.AskAsync(Handoff)).Head, StringComparison.Ordinal);
        Assert.True((await wrong.AskAsync("""{"prompt":"hi","keep":true,"request_id":"w"}""")).IsDone);
        await Eventually.TrueAsync(() => wrong.LogLines("RedisUnavailable").Count > 0);
        Assert.DoesNotContain("secret-of-redis", right.ErrorText + wrong.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reader_on_another_daemon_keeps_an_answer_from_being_orphaned()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < 14; i++)
            {
                await exchange.SendDeltaAsync("word");
                await Task.Delay(500, exchange.Context.RequestAborted);
            }

            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var one = await upstream.StartSharedAsync(redis, "orphan_s = 2");
        await using var two = await upstream.StartSharedAsync(redis, "orphan_s = 2");
        using (var first = TestClient.HandOver(one.SocketPath, Handoff))
            await TestClient.ReadUntilAsync(first, "word");

        var answer = await two.AskAsync(Resume);

        Assert.Equal("id: 15\ndata: [DONE]", answer.Events[^1]);
        await Eventually.TrueAsync(() => one.LogLines("AnswerEnded").Count == 1);
        Assert.Contains("\"Outcome\":\"Completed\"", one.LogLines("AnswerEnded").Single(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Running_answer_is_shared_again_after_Redis_lost_its_data()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await StartAsync(redis, upstream);
        await using var two = await StartAsync(redis, upstream);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        var begun = await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        using var before = TestClient.HandOver(two.SocketPath, Resume);
        var read = await TestClient.ReadUntilAsync(before, "two\"}\n\n");

        await redis.CommandAsync("FLUSHALL");
        await Eventually.TrueAsync(async () => (await redis.CommandAsync("EXISTS", "streaming-daemon:{u7:a}:events"))
            .Contains('1', StringComparison.Ordinal));
        using var after = TestClient.HandOver(two.SocketPath, Handoff);
        var joined = await TestClient.ReadUntilAsync(after, "two\"}\n\n");
        upstream.GoOn();

        begun += await TestClient.ReadTextAsync(first);
        Assert.EndsWith("id: 4\ndata: [DONE]\n\n", begun, StringComparison.Ordinal);
        Assert.Equal(begun, read + await TestClient.ReadTextAsync(before));
        Assert.Equal(begun, joined + await TestClient.ReadTextAsync(after));
        Assert.Equal(1, upstream.Calls);
    }

    [Fact]
    public async Task Answer_in_Redis_expires_and_leaves_nothing_behind()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await StartAsync(redis, upstream, "keep_s = 1");
        Assert.Contains("X-Answer-Id", (await daemon.AskAsync(Handoff)).Head, StringComparison.Ordinal);

        await Eventually.TrueAsync(async () => await redis.CommandAsync("DBSIZE") == ":0\r\n");
    }

    private static string BodyOf(string response) =>
        response[(response.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..];

    private static Task<DaemonProcess> StartAsync(RedisServer redis, PausedUpstream upstream, string more = "") =>
        upstream.Server.StartSharedAsync(redis, more);
}
