using System.Diagnostics;
using System.Globalization;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What kept answers cost Redis: the figures of docs/answers.md, as Redis itself counts them.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerCostTests(ITestOutputHelper output)
{
    private const int Tokens = 200;

    [Fact]
    public async Task Answer_of_200_tokens_costs_Redis_a_command_a_token_and_few_bytes()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await UpstreamAsync(pauseMs: 50);
        await using var daemon = await upstream.StartSharedAsync(redis);

        var cost = await CostAsync(redis, () => AskAsync(daemon));

        output.WriteLine($"{cost}");
        // One to claim the name, one to end the answer, the head's comes with the first token.
        Assert.InRange(cost.Commands, 10, Tokens + 10);
        Assert.InRange(cost.Inner, cost.Commands, 7 * cost.Commands);
        Assert.InRange(cost.BytesIn, 10_000, 80_000);
        Assert.InRange(cost.BytesOut, 500, 5_000);
        Assert.InRange(await MemoryAsync(redis), 5_000, 24_000);
    }

    [Fact]
    public async Task Tokens_that_come_fast_share_their_commands()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await UpstreamAsync(pauseMs: 1);
        await using var daemon = await upstream.StartSharedAsync(redis);

        var cost = await CostAsync(redis, () => AskAsync(daemon));

        output.WriteLine($"{cost}");
        Assert.InRange(cost.Commands, 3, (cost.Took.TotalMilliseconds / 10) + 10);
        Assert.True(cost.Commands < Tokens, $"{cost}");
    }

    [Fact]
    public async Task Silent_answer_costs_Redis_a_command_a_second_and_one_read_elsewhere_twenty_more()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await UpstreamAsync(pauseMs: 1, silentMs: 10_000);
        await using var one = await upstream.StartSharedAsync(redis);
        await using var two = await upstream.StartSharedAsync(redis);
        await AskAsync(one);
        using var first = TestClient.HandOver(one.SocketPath, Handoff("silent"));
        await TestClient.ReadUntilAsync(first, "word");

        var alone = await CostAsync(redis, () => Task.Delay(1_500));
        using var second = TestClient.HandOver(two.SocketPath, """{"resume":"silent","user_id":7}""");
        await TestClient.ReadUntilAsync(second, "word");
        var read = await CostAsync(redis, () => Task.Delay(1_500));

        output.WriteLine($"alone {alone}; read {read}");
        Assert.InRange(alone.Commands, 1, alone.Took.TotalSeconds + 4);
        Assert.InRange(read.Commands - alone.Commands, 5, (read.Took.TotalSeconds * 20) + 2);
    }

    private static string Handoff(string id) => $$"""{"prompt":"{{id}}","keep":true,"request_id":"{{id}}","user_id":7}""";

    private static async Task AskAsync(DaemonProcess daemon, string id = "a")
    {
        var answer = await daemon.AskAsync(Handoff(id));
        Assert.Equal($"id: {Tokens + 1}\ndata: [DONE]", answer.Events[^1]);
    }

    /// <summary>A model that says 200 words.</summary>
    private static async Task<FakeLlmServer> UpstreamAsync(int pauseMs, int silentMs = 0)
    {
        var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < Tokens; i++)
            {
                await exchange.SendDeltaAsync(" word");
                await Task.Delay(i == 0 && exchange.Request.Body.Contains("silent", StringComparison.Ordinal) ? silentMs : pauseMs,
                    exchange.Context.RequestAborted);
            }

            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        return upstream;
    }

    private static async Task<Cost> CostAsync(RedisServer redis, Func<Task> act)
    {
        var own = await CountAsync(redis, () => Task.CompletedTask);
        var all = await CountAsync(redis, act);
        return all with { BytesIn = all.BytesIn - own.BytesIn, BytesOut = all.BytesOut - own.BytesOut };
    }

    private static async Task<Cost> CountAsync(RedisServer redis, Func<Task> act)
    {
        await redis.CommandAsync("CONFIG", "RESETSTAT");
        var before = await redis.InfoAsync("stats");
        var watch = Stopwatch.StartNew();
        await act();
        var took = watch.Elapsed;
        var after = await redis.InfoAsync("stats");
        var calls = (await redis.InfoAsync("commandstats")).ToDictionary(
            line => line.Key["cmdstat_".Length..].Split('|')[0],
            line => long.Parse(line.Value.Split('=')[1].Split(',')[0], CultureInfo.InvariantCulture));
        // What this test itself asks.
        foreach (var name in (string[])["info", "config"])
            calls.Remove(name);
        string[] outer = ["eval", "evalsha", "ping", "echo", "client", "script", "hello", "auth"];
        long Grown(string name) => long.Parse(after[name], CultureInfo.InvariantCulture)
            - long.Parse(before[name], CultureInfo.InvariantCulture);
        return new Cost(calls.Where(call => outer.Contains(call.Key)).Sum(call => call.Value),
            calls.Where(call => !outer.Contains(call.Key)).Sum(call => call.Value),
            Grown("total_net_input_bytes"), Grown("total_net_output_bytes"), took);
    }

    /// <summary>Bytes of all keys of the answers.</summary>
    private static async Task<long> MemoryAsync(RedisServer redis)
    {
        var sum = 0L;
        foreach (var key in (string[])["lease", "events", "stop", "read"])
        {
            var answer = await redis.CommandAsync("MEMORY", "USAGE", $"streaming-daemon:{{u7:a}}:{key}", "SAMPLES", "0");
            sum += answer[0] == ':' ? long.Parse(answer.AsSpan(1), CultureInfo.InvariantCulture) : 0;
        }

        return sum;
    }

    /// <param name="Commands">What the daemons sent.</param>
    /// <param name="Inner">What their scripts ran.</param>
    private sealed record Cost(long Commands, long Inner, long BytesIn, long BytesOut, TimeSpan Took);
}
