using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Kept answers in a Redis that loses keys, holds what others wrote, or takes no writes.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerFaultTests
{
    private const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""";
    private const string Resume = """{"resume":"a","user_id":7}""";
    private const string Key = "streaming-daemon:{u7:a}:";

    [Theory]
    [InlineData("lease")]
    [InlineData("events")]
    [InlineData("read")]
    public async Task Answer_of_which_Redis_evicts_a_key_is_read_to_its_end_on_another_daemon(string evicted)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        var begun = await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        using var second = TestClient.HandOver(two.SocketPath, Resume);
        var read = await TestClient.ReadUntilAsync(second, "two\"}\n\n");

        await redis.CommandAsync("DEL", Key + evicted);
        await Eventually.TrueAsync(async () =>
            (await redis.CommandAsync("EXISTS", Key + "lease", Key + "events")) == ":2\r\n");
        using var third = TestClient.HandOver(two.SocketPath, Resume);
        var late = await TestClient.ReadUntilAsync(third, "two\"}\n\n");
        upstream.GoOn();

        begun += await TestClient.ReadTextAsync(first);
        Assert.EndsWith("id: 4\ndata: [DONE]\n\n", begun, StringComparison.Ordinal);
        Assert.Equal(begun, read + await TestClient.ReadTextAsync(second));
        Assert.Equal(begun, late + await TestClient.ReadTextAsync(third));
        Assert.Equal(begun, (await two.AskAsync(Resume)).Raw);
        Assert.Equal(1, upstream.Calls);
    }

    [Fact]
    public async Task Answer_whose_last_events_a_failover_lost_is_read_to_its_end_on_another_daemon()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        var begun = await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        await Eventually.TrueAsync(async () => (await redis.CommandAsync("XRANGE", Key + "events", "-", "+"))
            .Contains("two", StringComparison.Ordinal));

        // The replica that took over had not heard of them.
        await redis.CommandAsync("EVAL",
            "redis.call('xdel', KEYS[1], redis.call('xrevrange', KEYS[1], '+', '-', 'count', 1)[1][1])",
            "1", Key + "events");
        upstream.GoOn();

        begun += await TestClient.ReadTextAsync(first);
        Assert.EndsWith("id: 4\ndata: [DONE]\n\n", begun, StringComparison.Ordinal);
        await Eventually.TrueAsync(async () => (await redis.CommandAsync("GET", Key + "lease"))
            .Contains("done", StringComparison.Ordinal));
        Assert.Equal(begun, (await two.AskAsync(Resume)).Raw);
    }

    [Fact]
    public async Task Name_that_was_claimed_too_late_is_free_again_when_Redis_answers()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await upstream.Server.StartSharedAsync(redis);

        await redis.CommandAsync("CLIENT", "PAUSE", "2500", "ALL");
        // It waits a second for Redis, which claims the name later all the same.
        Assert.DoesNotContain("X-Answer-Id", (await daemon.AskAsync(Handoff)).Head, StringComparison.Ordinal);
        await Eventually.TrueAsync(() => daemon.LogLines("RedisAvailable").Count == 1);
        await Eventually.TrueAsync(async () => (await redis.CommandAsync("EXISTS", Key + "lease")) == ":0\r\n");
        Assert.Equal("0", (await redis.InfoAsync("stats"))["expired_keys"]);

        var again = await daemon.AskAsync(Handoff);
        Assert.Contains("X-Answer-Id", again.Head, StringComparison.Ordinal);
        Assert.Equal("id: 4\ndata: [DONE]", again.Events[^1]);
    }

    [Fact]
    public async Task Reader_that_comes_while_the_lease_is_missing_reads_to_the_end()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        await Eventually.TrueAsync(async () => (await redis.CommandAsync("XRANGE", Key + "events", "-", "+"))
            .Contains("two", StringComparison.Ordinal));

        one.Signal(19);
        await redis.CommandAsync("CONFIG", "RESETSTAT");
        await redis.CommandAsync("DEL", Key + "lease");
        using var second = TestClient.HandOver(two.SocketPath, Resume);
        // It has looked, and nobody owns the answer.
        await Eventually.TrueAsync(async () =>
            (await redis.InfoAsync("commandstats")).TryGetValue("cmdstat_xrange", out _));
        one.Signal(18);
        upstream.GoOn();

        Assert.EndsWith("id: 4\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(second), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Last_event_and_end_of_an_answer_reach_Redis_in_one_step()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync(["one", "two"], []);
        await using var daemon = await upstream.Server.StartSharedAsync(redis);
        using var client = TestClient.HandOver(daemon.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(client, "two\"}\n\n");
        await Eventually.TrueAsync(async () => (await redis.CommandAsync("XRANGE", Key + "events", "-", "+"))
            .Contains("two", StringComparison.Ordinal));

        var log = await redis.MonitorAsync("\"end\"", upstream.GoOn);

        // A daemon that is killed between them leaves an answer that has ended and then breaks off.
        var between = log[log.IndexOf("data: [DONE]", StringComparison.Ordinal)..];
        Assert.DoesNotContain("\"EVAL", between[..between.IndexOf("\"end\"", StringComparison.Ordinal)].ToUpperInvariant(),
            StringComparison.Ordinal);
        Assert.Contains("[0 lua]", between, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("XADD", "events", "*", "x", "y")]
    [InlineData("XADD", "events", "1-0", "o", "somebody", "e", "no event")]
    [InlineData("XADD", "events", "5-0", "o", "somebody", "e", "id: 5\ndata: 5\n\n")]
    [InlineData("XADD", "events", "1-1", "o", "somebody", "e", "", "end", "{}")]
    [InlineData("XADD", "events", "1-1", "o", "somebody", "e", "", "end", "{\"outcome\":\"Completed\",\"code\":7}")]
    [InlineData("XADD", "events", "99999999999-0", "o", "somebody", "e", "id: 1\n\n")]
    [InlineData("SET", "events", "text")]
    [InlineData("RPUSH", "lease", "list")]
    [InlineData("SET", "lease", "somebody", "px", "60000")]
    public async Task Keys_that_somebody_else_wrote_end_in_an_error_and_harm_nothing(string command, string key, params string[] rest)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await upstream.Server.StartSharedAsync(redis, "orphan_s = 1");
        Assert.DoesNotContain("-ERR", await redis.CommandAsync([command, Key + key, .. rest]), StringComparison.Ordinal);
        // Nobody has the lease, or somebody who never writes.
        using var reader = TestClient.HandOver(daemon.SocketPath, Resume);
        if (key == "lease" && command == "SET")
            await redis.CommandAsync("PEXPIRE", Key + key, "1500");

        var text = await TestClient.ReadTextAsync(reader);

        Assert.Matches("^HTTP/1.1 (404|502|503)|\"code\":\"upstream_broke_off\"", text);
        await daemon.AskAsync("""{"stop":"a","user_id":7}""");
        await daemon.AskAsync(Handoff);
        var other = await daemon.AskAsync("""{"prompt":"hi","keep":true,"request_id":"b","user_id":7}""");
        Assert.Contains("X-Answer-Id: b", other.Head, StringComparison.Ordinal);
        Assert.EndsWith("[DONE]", other.Events[^1], StringComparison.Ordinal);
        Assert.Empty(daemon.LogLines("\"@l\":\"Error\""));
    }

    [Fact]
    public async Task Ids_that_differ_in_a_brace_are_two_answers()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        string[] ids = ["a}b", "a_b", "a%7Db", "a{b", "*", "a:lease", "{}", "../a"];

        foreach (var id in ids)
        {
            var answer = await one.AskAsync($$"""{"prompt":"hi","keep":true,"request_id":"{{id}}","user_id":7}""");
            Assert.Contains($"X-Answer-Id: {id}\r\n", answer.Head, StringComparison.Ordinal);
            Assert.Equal(answer.Raw, (await two.AskAsync($$"""{"resume":"{{id}}","user_id":7}""")).Raw);
        }

        Assert.Equal(ids.Length, upstream.Calls);
    }

    [Fact]
    public async Task Redis_that_is_a_replica_keeps_nothing_and_is_told_once()
    {
        await using var primary = await RedisServer.StartAsync();
        await using var redis = await RedisServer.StartAsync("--replicaof", "127.0.0.1", $"{primary.Port}");
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await upstream.Server.StartSharedAsync(redis);

        for (var i = 0; i < 20; i++)
        {
            var answer = await daemon.AskAsync($$"""{"prompt":"hi","keep":true,"request_id":"r{{i}}","user_id":7}""");
            Assert.EndsWith("data: [DONE]", answer.Events[^1], StringComparison.Ordinal);
            await Task.Delay(60);
        }

        var told = daemon.LogLines("RedisUnavailable").Count + daemon.LogLines("RedisRefuses").Count;
        Assert.InRange(told, 1, 2);
        Assert.Empty(daemon.LogLines("RedisAvailable"));
        // It becomes the primary: a failover.
        await redis.CommandAsync("REPLICAOF", "NO", "ONE");
        await Eventually.TrueAsync(async () => (await daemon.AskAsync(
            $$"""{"prompt":"hi","keep":true,"request_id":"k{{Guid.NewGuid():N}}","user_id":7}""")).Head
            .Contains("X-Answer-Id", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Redis_without_memory_keeps_nothing_new_and_reads_what_is_there()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        var kept = await one.AskAsync(Handoff);
        await Eventually.TrueAsync(async () => (await redis.CommandAsync("GET", Key + "lease"))
            .Contains("done", StringComparison.Ordinal));
        await redis.CommandAsync("CONFIG", "SET", "maxmemory", "1");

        var unkept = await one.AskAsync("""{"prompt":"hi","keep":true,"request_id":"b","user_id":7}""");
        var read = await two.AskAsync(Resume);

        Assert.True(unkept.IsDone);
        Assert.Equal(kept.Raw, read.Raw);
        Assert.Contains("OOM", Assert.Single(one.LogLines("RedisRefuses")), StringComparison.Ordinal);
        await redis.CommandAsync("CONFIG", "SET", "maxmemory", "0");
        Assert.Contains("X-Answer-Id", (await two.AskAsync(
            """{"prompt":"hi","keep":true,"request_id":"c","user_id":7}""")).Head, StringComparison.Ordinal);
    }
}
