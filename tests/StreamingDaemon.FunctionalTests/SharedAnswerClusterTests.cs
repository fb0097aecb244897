using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Kept answers in a cluster of Redis: each daemon knows another node.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerClusterTests
{
    [Fact]
    public async Task Answers_are_shared_by_the_address_of_any_node_of_a_cluster()
    {
        await using var left = await NodeAsync();
        await using var right = await NodeAsync();
        await OkAsync(left, "CLUSTER", "ADDSLOTSRANGE", "0", "8191");
        await OkAsync(right, "CLUSTER", "ADDSLOTSRANGE", "8192", "16383");
        await OkAsync(left, "CLUSTER", "MEET", "127.0.0.1", $"{right.Port}", $"{right.BusPort}");
        foreach (var node in (RedisServer[])[left, right])
        {
            await Eventually.TrueAsync(async () => (await node.CommandAsync("CLUSTER", "INFO"))
                .Contains("cluster_state:ok", StringComparison.Ordinal));
        }

        await using var upstream = await PausedUpstream.StartAsync();
        await using var one = await upstream.Server.StartSharedAsync(left);
        await using var two = await upstream.Server.StartSharedAsync(right);
        for (var i = 0; i < 8; i++)
        {
            using var first = TestClient.HandOver(one.SocketPath, $$"""{"prompt":"hi","keep":true,"request_id":"{{i}}","user_id":7}""");
            var begun = await TestClient.ReadUntilAsync(first, "two\"}\n\n");
            using var second = TestClient.HandOver(two.SocketPath, $$"""{"resume":"{{i}}","user_id":7}""");
            var read = await TestClient.ReadUntilAsync(second, "two\"}\n\n");
            Assert.Contains("\"stopped\":true", (await two.AskAsync($$"""{"stop":"{{i}}","user_id":7}""")).Body, StringComparison.Ordinal);

            begun += await TestClient.ReadTextAsync(first);
            Assert.EndsWith("data: [DONE]\n\n", begun, StringComparison.Ordinal);
            Assert.Equal(begun, read + await TestClient.ReadTextAsync(second));
        }

        // Each node had some of them.
        Assert.DoesNotContain(":0\r\n", new[] { await left.CommandAsync("DBSIZE"), await right.CommandAsync("DBSIZE") });
        Assert.Equal(8, upstream.Calls);
    }

    private static Task<RedisServer> NodeAsync() => RedisServer.StartAsync("--cluster-enabled", "yes");

    private static async Task OkAsync(RedisServer node, params string[] command) =>
        Assert.Equal("+OK\r\n", await node.CommandAsync(command));
}
