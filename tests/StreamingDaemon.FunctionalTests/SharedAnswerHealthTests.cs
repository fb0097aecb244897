using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A Redis that refuses what answers need is told: in /health, by the metric, and once in the log. Nobody
/// needs to ask for an answer first.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerHealthTests
{
    private const string Metric = "streaming_daemon_answers_redis_up";

    [Theory]
    [InlineData("OOM", "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0")]
    [InlineData("NOREPLICAS", "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0")]
    [InlineData("NOPERM", "ACL SETUSER default -eval -evalsha", "ACL SETUSER default +eval +evalsha")]
    [InlineData("can't run this command", "ACL SETUSER default -xadd", "ACL SETUSER default +xadd")]
    [InlineData("NOPERM", "ACL SETUSER default resetkeys ~other:*", "ACL SETUSER default allkeys")]
    [InlineData("READONLY", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")]
    public async Task Redis_that_refuses_is_told_while_nobody_asks_and_again_when_it_does_not(
        string word, string refuse, string allow)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await upstream.Server.StartSharedAsync(redis);
        await SaysAsync(daemon, "ok");

        Assert.Equal("+OK\r\n", await redis.CommandAsync(refuse.Split(' ')));
        await SaysAsync(daemon, "refuses");
        Assert.Equal(0, (await daemon.MetricValuesAsync())[Metric]);
        Assert.Equal(200, (await daemon.HealthAsync("/health/ready")).Status);
        for (var i = 0; i < 5; i++)
        {
            var answer = await daemon.AskAsync($$"""{"prompt":"hi","keep":true,"request_id":"r{{i}}"}""");
            Assert.EndsWith("data: [DONE]", answer.Events[^1], StringComparison.Ordinal);
        }

        Assert.Equal("+OK\r\n", await redis.CommandAsync(allow.Split(' ')));
        await SaysAsync(daemon, "ok");
        Assert.Equal(1, (await daemon.MetricValuesAsync())[Metric]);
        Assert.Contains("X-Answer-Id", (await daemon.AskAsync("""{"prompt":"hi","keep":true,"request_id":"k"}""")).Head,
            StringComparison.Ordinal);
        await Eventually.TrueAsync(() => daemon.LogLines("\"RedisAvailable\"").Count > 0);
        Assert.Single(daemon.LogLines("\"RedisAvailable\""));
        await SaysOnceAsync(daemon, "RedisRefuses", word);
    }

    [Theory]
    [InlineData("OOM", "--maxmemory", "1")]
    [InlineData("NOREPLICAS", "--min-replicas-to-write", "1")]
    [InlineData("ERR unknown command", "--rename-command", "EVAL", "", "--rename-command", "EVALSHA", "")]
    [InlineData("CLUSTERDOWN", "--cluster-enabled", "yes")]
    public async Task Redis_that_refuses_at_the_start_is_told_at_the_start(string word, params string[] more)
    {
        await using var redis = await RedisServer.StartAsync(more);
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await upstream.Server.StartSharedAsync(redis);

        await SaysAsync(daemon, "refuses");

        await SaysOnceAsync(daemon, "RedisRefuses", word);
        Assert.EndsWith("data: [DONE]", (await daemon.AskAsync("""{"prompt":"hi","keep":true,"request_id":"a"}""")).Events[^1],
            StringComparison.Ordinal);
        Assert.Empty(daemon.LogLines("\"RedisAvailable\""));
    }

    [Fact]
    public async Task Redis_that_cannot_write_its_disk_is_told_until_it_can()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await upstream.Server.StartSharedAsync(redis);
        await SaysAsync(daemon, "ok");

        // A snapshot that fails: MISCONF.
        await redis.CommandAsync("CONFIG", "SET", "save", "3600 100000");
        var directory = redis.SnapshotPath;
        Directory.CreateDirectory(directory);
        await redis.CommandAsync("SET", "x", "1");
        await redis.CommandAsync("BGSAVE");
        await SaysAsync(daemon, "refuses");
        await SaysOnceAsync(daemon, "RedisRefuses", "MISCONF");

        Directory.Delete(directory);
        await redis.CommandAsync("BGSAVE");
        await SaysAsync(daemon, "ok");
    }

    [Fact]
    public async Task Redis_that_vanishes_is_told_while_nobody_asks()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var daemon = await upstream.Server.StartSharedAsync(redis);
        await SaysAsync(daemon, "ok");

        await redis.KillAsync();

        await SaysAsync(daemon, "unavailable");
        await SaysOnceAsync(daemon, "RedisUnavailable", "Redis is unavailable");
    }

    [Fact]
    public async Task Key_of_another_kind_spoils_its_answer_and_nothing_else()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await upstream.Server.StartSharedAsync(redis);
        await redis.CommandAsync("SADD", "streaming-daemon:{u7:a}:lease", "x");

        Assert.EndsWith("data: [DONE]", (await daemon.AskAsync("""{"prompt":"hi","keep":true,"request_id":"a","user_id":7}"""))
            .Events[^1], StringComparison.Ordinal);
        await SaysAsync(daemon, "ok");

        Assert.Contains("X-Answer-Id", (await daemon.AskAsync("""{"prompt":"hi","keep":true,"request_id":"b"}""")).Head,
            StringComparison.Ordinal);
        await SaysOnceAsync(daemon, "RedisRefuses", "WRONGTYPE");
    }

    private static async Task SaysOnceAsync(DaemonProcess daemon, string name, string word)
    {
        await Eventually.TrueAsync(() => daemon.LogLines($"\"{name}\"").Count > 0);
        Assert.Contains(word, Assert.Single(daemon.LogLines($"\"{name}\"")), StringComparison.Ordinal);
    }

    private static Task SaysAsync(DaemonProcess daemon, string state) => Eventually.TrueAsync(async () =>
        (await daemon.HealthAsync()).Body.GetProperty("answers_redis").GetString() == state);
}
