using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A Redis that answers and refuses: whoever asks for an answer must not take that for "there is no
/// such answer".</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerRefusalTests
{
    private const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""";
    private const string Resume = """{"resume":"a","user_id":7}""";
    private const string Stop = """{"stop":"a","user_id":7}""";
    private const string Key = "streaming-daemon:{u7:a}:";

    [Theory]
    [InlineData(Stop, "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0")]
    [InlineData(Stop, "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0")]
    [InlineData(Stop, "ACL SETUSER default -eval -evalsha", "ACL SETUSER default +eval +evalsha")]
    [InlineData(Resume, "ACL SETUSER default -eval -evalsha", "ACL SETUSER default +eval +evalsha")]
    [InlineData(Resume, "ACL SETUSER default -xrange", "ACL SETUSER default +xrange")]
    public async Task Answer_that_Redis_refuses_to_tell_of_is_a_503_and_there_afterwards(
        string handoff, string refuse, string allow)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        await IsInRedisAsync(redis, "two");

        Assert.Equal("+OK\r\n", await redis.CommandAsync(refuse.Split(' ')));
        var refused = await two.AskAsync(handoff);
        Assert.Equal("+OK\r\n", await redis.CommandAsync(allow.Split(' ')));

        Assert.Equal("HTTP/1.1 503 Service Unavailable", refused.StatusLine);
        Assert.Contains("\"code\":\"answers_unavailable\"", refused.Body, StringComparison.Ordinal);
        Assert.Contains((await two.AccessLogAsync(1)).Select(line => line.GetProperty("Outcome").GetString()),
            outcome => outcome == "AnswerNotFound");
        if (handoff == Stop)
        {
            Assert.StartsWith("{\"stopped\":true", (await two.AskAsync(Stop)).Body, StringComparison.Ordinal);
            Assert.EndsWith("id: 3\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(first), StringComparison.Ordinal);
            return;
        }

        upstream.GoOn();
        Assert.EndsWith("id: 4\ndata: [DONE]", (await two.AskAsync(Resume)).Events[^1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Stop)]
    [InlineData(Resume)]
    public async Task Redis_that_is_busy_with_a_script_is_a_503_and_not_a_404(string handoff)
    {
        await using var redis = await RedisServer.StartAsync("--busy-reply-threshold", "20");
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        await IsInRedisAsync(redis, "two");

        var spinning = redis.CommandAsync("EVAL", "while true do end", "0");
        await Eventually.TrueAsync(async () =>
            (await redis.CommandAsync("PING")).StartsWith("-BUSY", StringComparison.Ordinal));
        var refused = await two.AskAsync(handoff);
        Assert.Equal("+OK\r\n", await redis.CommandAsync("SCRIPT", "KILL"));
        await spinning;

        Assert.Equal("HTTP/1.1 503 Service Unavailable", refused.StatusLine);
    }

    [Theory]
    [InlineData("lease")]
    [InlineData("events")]
    public async Task Stop_of_an_answer_of_which_Redis_evicts_a_key_is_not_lost(string evicted)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        await IsInRedisAsync(redis, "two");

        // Its owner has not noticed yet.
        one.Signal(19);
        await redis.CommandAsync("DEL", Key + evicted);
        var stopped = await two.AskAsync(Stop);
        one.Signal(18);

        Assert.Equal("{\"stopped\":true,\"request_id\":\"a\"}\n", stopped.Body);
        Assert.EndsWith("id: 3\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(first), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Password_of_Redis_that_changes_in_its_file_needs_no_restart()
    {
        await using var redis = await RedisServer.StartAsync("--requirepass", "old-secret");
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        using var directory = new TempDirectory();
        var file = directory.File("password");
        await File.WriteAllTextAsync(file, "old-secret\n");
        await using var daemon = await upstream.Server.StartSharedAsync(redis, $"redis_password_file = \"{file}\"");
        Assert.Contains("X-Answer-Id", (await daemon.AskAsync(Handoff)).Head, StringComparison.Ordinal);

        await redis.CommandsAsync(["AUTH", "old-secret"], ["CONFIG", "SET", "requirepass", "new-secret"],
            ["CLIENT", "KILL", "TYPE", "normal"]);
        await daemon.AskAsync("""{"prompt":"hi","keep":true,"request_id":"b","user_id":7}""");
        await File.WriteAllTextAsync(file, "new-secret\n");

        await Eventually.TrueAsync(async () => (await daemon.AskAsync(
            $$"""{"prompt":"hi","keep":true,"request_id":"k{{Guid.NewGuid():N}}","user_id":7}""")).Head
            .Contains("X-Answer-Id", StringComparison.Ordinal));
        Assert.DoesNotContain("-secret", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, "cannot be read: No such file or directory")]
    [InlineData("\n", "is empty; expected a key")]
    public async Task Password_file_that_holds_no_password_stops_the_start_and_is_named(string? content, string problem)
    {
        using var directory = new TempDirectory();
        var file = directory.File("password");
        if (content is not null)
            await File.WriteAllTextAsync(file, content);
        var configuration = directory.File("daemon.toml");
        await File.WriteAllTextAsync(configuration,
            $"[answers]\nstore = \"redis\"\nredis_password_file = \"{file}\"\n");

        var (code, _, error) = await DaemonProcess.RunAsync(
            "--socket", directory.File("s"), "--config", configuration);

        Assert.NotEqual(0, code);
        Assert.Contains($"answers.redis_password_file: {file}: {problem}", error, StringComparison.Ordinal);
    }

    private static Task IsInRedisAsync(RedisServer redis, string text) => Eventually.TrueAsync(async () =>
        (await redis.CommandAsync("XRANGE", Key + "events", "-", "+")).Contains(text, StringComparison.Ordinal));
}
