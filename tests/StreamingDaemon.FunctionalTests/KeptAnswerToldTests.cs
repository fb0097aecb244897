using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What a client, the log and the metrics are told of kept answers.</summary>
[Trait("Needs", "Tools")]
public sealed class KeptAnswerToldTests
{
    [Theory]
    [InlineData("resume", false)]
    [InlineData("stop", false)]
    [InlineData("resume", true)]
    [InlineData("stop", true)]
    public async Task Answers_that_are_unknown_or_expired_or_another_users_are_not_told_apart(string act, bool isShared)
    {
        await using var redis = isShared ? await RedisServer.StartAsync() : null;
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        using var directory = new TempDirectory();
        var file = directory.File("answers.toml");
        await File.WriteAllTextAsync(file, "[answers]\nkeep_s = 1\n"
            + (isShared ? $"store = \"redis\"\nredis = \"127.0.0.1:{redis!.Port}\"\n" : ""));
        await using var one = await upstream.Server.StartDaemonAsync("--config", file);
        await using var two = isShared ? await upstream.Server.StartDaemonAsync("--config", file) : null;
        foreach (var daemon in (DaemonProcess?[])[one, two])
        {
            if (daemon is null)
                continue;
            var id = daemon == one ? "one" : "two";
            var asked = daemon == one ? 1 : 0;
            Assert.Equal(4, (await one.AskAsync($$"""{"prompt":"hi","keep":true,"request_id":"{{id}}","user_id":7}""")).Events.Count);
            var others = await AskAsync(daemon, act, id, 8);
            asked++;
            await Eventually.TrueAsync(async () =>
            {
                asked++;
                return (await AskAsync(daemon, "resume", id, 7)).StatusLine == "HTTP/1.1 404 Not Found";
            });
            await daemon.AccessLogAsync(asked);

            var expired = await AskAsync(daemon, act, id, 7);
            var unknown = await AskAsync(daemon, act, "no", 7);
            await AskAsync(daemon, act, id, 8);

            Assert.Equal("HTTP/1.1 404 Not Found", expired.StatusLine);
            Assert.Equal([expired.Raw, expired.Raw], [unknown.Raw, others.Raw]);
            var lines = (await daemon.AccessLogAsync(asked + 3)).Skip(asked).Select(Told).ToList();
            Assert.Contains("Outcome=AnswerNotFound", lines[0], StringComparison.Ordinal);
            Assert.Equal([lines[0], lines[0]], lines[1..]);
        }
    }

    [Fact]
    public async Task Log_and_metrics_have_the_word_for_all_that_happens_to_an_answer()
    {
        await using var upstream = await PausedUpstream.StartAsync();
        await using var daemon = await upstream.Server.StartDaemonAsync();
        const string Keep = """{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""";
        using (var first = TestClient.HandOver(daemon.SocketPath, Keep))
            await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        await daemon.AccessLogAsync(1);
        using var joined = TestClient.HandOver(daemon.SocketPath, Keep);
        await TestClient.ReadUntilAsync(joined, "two\"}\n\n");
        using var resumed = TestClient.HandOver(daemon.SocketPath, """{"resume":"a","user_id":7,"last_event_id":1}""");
        await TestClient.ReadUntilAsync(resumed, "two\"}\n\n");
        Assert.Contains("\"stopped\":true", (await daemon.AskAsync("""{"stop":"a","user_id":7}""")).Body, StringComparison.Ordinal);
        await TestClient.ReadTextAsync(joined);
        await TestClient.ReadTextAsync(resumed);
        await daemon.AskAsync("""{"resume":"b","user_id":7}""");

        var told = (await daemon.AccessLogAsync(5)).Select(line =>
            $"{line.GetProperty("Answer").GetString()} {line.GetProperty("Outcome").GetString()}").Order(StringComparer.Ordinal);
        Assert.Equal(["joined Stopped", "kept ClientGone", "resumed AnswerNotFound", "resumed Stopped", "stop Completed"], told);
        var metrics = await daemon.MetricValuesAsync();
        foreach (var what in (string[])["kept", "joined", "resumed", "orphaned", "stopped", "not_found"])
            Assert.Equal((what, 1), (what, metrics[$$"""streaming_daemon_answers_total{event="{{what}}"}"""]));
        Assert.Equal(1, metrics["""streaming_daemon_answers_ended_total{outcome="Stopped"}"""]);
    }

    private static Task<Answer> AskAsync(DaemonProcess daemon, string act, string id, int user) =>
        daemon.AskAsync($$"""{"{{act}}":"{{id}}","user_id":{{user}},"request_id":"r"}""");

    /// <summary>All of the line but the user, and its times.</summary>
    private static string Told(JsonElement line) => string.Join('\n', line.EnumerateObject()
        .Where(field => field.Name[0] != '@' && field.Name != "UserId" && !field.Name.EndsWith("Ms", StringComparison.Ordinal))
        .Select(field => $"{field.Name}={field.Value}"));
}
