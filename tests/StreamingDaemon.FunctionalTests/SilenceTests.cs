using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

[Trait("Takes", "Long")]
public sealed class SilenceTests
{
    private const string Comment = ": keep-alive\n\n";

    private static Dictionary<string, string> Every(int seconds) =>
        new() { ["STREAMING_DAEMON_STREAMING__KEEPALIVE_S"] = $"{seconds}" };

    [Fact]
    public async Task Client_of_a_silent_upstream_is_sent_comments_between_whole_events()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var release = new SemaphoreSlim(0);
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("first");
            await release.WaitAsync();
            await exchange.SendDeltaAsync("second");
            await exchange.SendDoneAsync();
        };
        var environment = upstream.OpenAIEnvironment(false);
        environment["STREAMING_DAEMON_STREAMING__KEEPALIVE_S"] = "1";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"p"}""");

        var early = await TestClient.ReadUntilAsync(client, Comment + Comment);
        release.Release();
        var rest = await TestClient.ReadTextAsync(client);

        var answer = Answer.Parse(System.Text.Encoding.UTF8.GetBytes(early + rest));
        Assert.Equal(["first", "second"], answer.Contents);
        Assert.True(answer.IsDone);
        var log = (await daemon.AccessLogAsync(1))[0];
        Assert.Equal("Completed", log.GetProperty("Outcome").GetString());
        Assert.Equal((early + rest).Length, log.GetProperty("Bytes").GetInt32());
    }

    [Fact]
    public async Task Keep_alive_that_is_off_is_off()
    {
        await using var off = await DaemonProcess.StartAsync(Every(0), true, "--delay", "60000");
        await using var on = await DaemonProcess.StartAsync(Every(1), true, "--delay", "60000");
        using var without = TestClient.HandOver(off.SocketPath, "{}");
        using var with = TestClient.HandOver(on.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(without, "\n\n");

        _ = await TestClient.ReadUntilAsync(with, Comment + Comment);

        Assert.Equal(0, without.Available);
    }

    [Fact]
    public async Task Half_closed_client_is_kept_if_configured_and_gone_by_default()
    {
        var keep = new Dictionary<string, string> { ["STREAMING_DAEMON_STREAMING__HALF_CLOSE"] = "keep" };
        await using var keeping = await DaemonProcess.StartAsync(keep, true, "--delay", "10");
        await using var strict = await DaemonProcess.StartAsync("--delay", "60000");
        using var kept = TestClient.HandOverTcp(keeping.SocketPath, "{}");
        using var gone = TestClient.HandOverTcp(strict.SocketPath, "{}");

        kept.Shutdown(SocketShutdown.Send);
        gone.Shutdown(SocketShutdown.Send);

        Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(kept)).IsDone);
        Assert.Equal("ClientGone", await strict.OutcomeAsync());
    }
}
