using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The limits of kept answers, to the byte, and readers that come while answers go.</summary>
[Trait("Needs", "Tools")]
public sealed class AnswerLimitTests
{
    private const int Limit = 4096;
    private const string Resume = """{"resume":"a","user_id":7}""";

    [Theory]
    [InlineData(-1, true, false)]
    [InlineData(0, true, false)]
    [InlineData(1, false, false)]
    [InlineData(-1, true, true)]
    [InlineData(0, true, true)]
    [InlineData(1, false, true)]
    public async Task Answer_of_exactly_max_answer_bytes_is_kept_and_of_one_more_is_not(int more, bool isKept, bool isShared)
    {
        const string first = "id: 1\ndata: {\"content\":\"\"}\n\n";
        const string second = "id: 2\ndata: {\"content\":\"x\"}\n\n";
        var word = new string('x', Limit + more - first.Length - second.Length);
        await using var redis = isShared ? await RedisServer.StartAsync() : null;
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync(word);
            await exchange.SendDeltaAsync("x");
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        using var directory = new TempDirectory();
        var file = directory.File("answers.toml");
        await File.WriteAllTextAsync(file, $"[answers]\nmax_answer_bytes = {Limit}\n"
            + (isShared ? $"store = \"redis\"\nredis = \"127.0.0.1:{redis!.Port}\"\n" : ""));
        await using var one = await upstream.StartDaemonAsync("--config", file);
        await using var two = isShared ? await upstream.StartDaemonAsync("--config", file) : null;

        var whole = await one.AskAsync("""{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""");

        Assert.Equal([first.Replace("\"\"", $"\"{word}\"", StringComparison.Ordinal)[..^2], second[..^2], "id: 3\ndata: [DONE]"],
            whole.Events);
        foreach (var daemon in (DaemonProcess?[])[one, two])
        {
            if (daemon is null)
                continue;
            var read = await daemon.AskAsync(Resume);
            if (isKept)
                Assert.Equal(whole.Raw, read.Raw);
            else if (read.StatusLine != "HTTP/1.1 404 Not Found")
                // Redis hears of it a moment later.
                await Eventually.TrueAsync(async () => (await daemon.AskAsync(Resume)).StatusLine == "HTTP/1.1 404 Not Found");
        }
    }

    [Fact]
    public async Task Readers_of_answers_that_are_evicted_meanwhile_read_what_is_whole_or_a_404()
    {
        const int tokens = 40;
        var word = new string('w', 100);
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < tokens; i++)
                await exchange.SendDeltaAsync(word);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        using var directory = new TempDirectory();
        var file = directory.File("answers.toml");
        await File.WriteAllTextAsync(file, "[answers]\nmax_bytes = \"64Ki\"\n");
        await using var daemon = await upstream.StartDaemonAsync("--config", file);
        var found = 0;

        await Parallel.ForEachAsync(Enumerable.Range(0, 160), new ParallelOptions { MaxDegreeOfParallelism = 8 },
            async (i, _) =>
            {
                // What another one of these asks for at this moment, or has asked for, or will.
                var after = i * 7 % (tokens + 1);
                var asking = daemon.AskAsync($$"""{"prompt":"hi","keep":true,"request_id":"e{{i}}","user_id":7}""");
                foreach (var id in (int[])[i, i - 4, i - 9, i - 30])
                {
                    var read = await daemon.AskAsync($$"""{"resume":"e{{id}}","user_id":7,"last_event_id":{{after}}}""");
                    if (read.StatusLine == "HTTP/1.1 404 Not Found")
                        continue;
                    Assert.Equal("HTTP/1.1 200 OK", read.StatusLine);
                    Interlocked.Increment(ref found);
                    Assert.Equal(EventsAfter(after), read.Events);
                }

                var answer = await asking;
                Assert.Equal(EventsAfter(0), answer.Events.Select((one, n) => one.StartsWith("id: ", StringComparison.Ordinal)
                    ? one : $"id: {n + 1}\n{one}"));
            });

        var metrics = await daemon.MetricValuesAsync();
        Assert.InRange(metrics["""streaming_daemon_answers_total{event="evicted"}"""], 1, 160);
        Assert.InRange(metrics["streaming_daemon_answers_bytes"], 1, 64 * 1024);
        Assert.True(found > 0);

        IEnumerable<string> EventsAfter(int after) =>
        [
            .. Enumerable.Range(after + 1, tokens - after).Select(n => $"id: {n}\ndata: {{\"content\":\"{word}\"}}"),
            $"id: {tokens + 1}\ndata: [DONE]",
        ];
    }
}
