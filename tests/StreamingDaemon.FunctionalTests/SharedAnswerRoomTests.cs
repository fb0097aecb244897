using System.Globalization;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What a daemon holds of an answer that another one makes.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerRoomTests
{
    private const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""";
    private const string Resume = """{"resume":"a","user_id":7}""";
    private const string Bytes = "streaming_daemon_answers_bytes";

    private static readonly string[] s_words = [.. Enumerable.Repeat(new string('x', 1000), 100)];

    [Fact]
    public async Task Answer_of_another_daemon_counts_while_it_is_read_and_no_longer()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync(s_words, ["last"]);
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(first, "id: 100\n");
        using var second = TestClient.HandOver(two.SocketPath, Resume);
        await TestClient.ReadUntilAsync(second, "id: 100\n");

        Assert.InRange((await two.MetricValuesAsync())[Bytes], 100_000, 400_000);
        upstream.GoOn();
        await TestClient.ReadTextAsync(second);
        await Eventually.TrueAsync(async () => (await two.MetricValuesAsync())[Bytes] == 0);
    }

    [Theory]
    [InlineData(Resume)]
    [InlineData(Handoff)]
    public async Task Answer_of_another_daemon_for_which_there_is_no_room_is_a_503_that_passes(string handoff)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync(s_words, ["last"]);
        upstream.GoOn();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis, "max_bytes = \"64Ki\"");
        var kept = await one.AskAsync(Handoff);
        // Before that, the other daemon would follow what there is, and find its room too small later.
        await Eventually.TrueAsync(async () =>
            (await redis.CommandAsync("GET", "streaming-daemon:{u7:a}:lease")).Contains("done", StringComparison.Ordinal));

        var refused = await two.AskAsync(handoff);

        Assert.StartsWith("HTTP/1.1 503", refused.StatusLine, StringComparison.Ordinal);
        Assert.Contains("answers_unavailable", refused.Body, StringComparison.Ordinal);
        var metrics = await two.MetricValuesAsync();
        Assert.Equal((0, 1), (metrics[Bytes], metrics["streaming_daemon_answers_total{event=\"full\"}"]));
        Assert.Equal(1, upstream.Calls);
        Assert.Equal(kept.Raw, (await one.AskAsync(Resume)).Raw);
    }

    [Fact]
    public async Task Answer_of_another_daemon_that_outgrows_the_room_is_read_whole_by_who_reads_it()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync(
            ["one", "two"], [.. Enumerable.Repeat(s_words, 5).SelectMany(words => words)]);
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis, "max_bytes = \"64Ki\"");
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        var begun = await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        using var second = TestClient.HandOver(two.SocketPath, Resume);
        var read = await TestClient.ReadUntilAsync(second, "two\"}\n\n");
        upstream.GoOn();

        begun += await TestClient.ReadTextAsync(first);
        read += await TestClient.ReadTextAsync(second);

        Assert.EndsWith("id: 503\ndata: [DONE]\n\n", begun, StringComparison.Ordinal);
        Assert.Equal(begun, read);
        await Eventually.TrueAsync(async () => (await two.MetricValuesAsync())[Bytes] == 0);
    }

    [Fact]
    public async Task Readers_of_one_answer_share_what_their_daemon_asks_Redis()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await upstream.Server.StartSharedAsync(redis);
        await using var two = await upstream.Server.StartSharedAsync(redis);
        using var first = TestClient.HandOver(one.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        // Their connections broke together, so they come back together.
        var readers = Enumerable.Range(0, 40).Select(_ => TestClient.HandOver(two.SocketPath, Resume)).ToList();
        await Task.WhenAll(readers.Select(reader => TestClient.ReadUntilAsync(reader, "two\"}\n\n")));

        await redis.CommandAsync("CONFIG", "RESETSTAT");
        await Task.Delay(1_000);
        var calls = (await redis.InfoAsync("commandstats"))["cmdstat_xrange"];

        // Twenty a second are one answer's.
        Assert.InRange(int.Parse(calls.Split('=')[1].Split(',')[0], CultureInfo.InvariantCulture), 1, 60);
        upstream.GoOn();
        foreach (var reader in readers)
        {
            Assert.EndsWith("[DONE]\n\n", await TestClient.ReadTextAsync(reader), StringComparison.Ordinal);
            reader.Dispose();
        }
    }
}
