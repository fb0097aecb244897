using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

public sealed class ClientFaultTests
{
    [Fact]
    public async Task Client_that_never_reads_is_dropped_as_slow_and_its_upstream_cancelled()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            while (!exchange.Request.Aborted.IsCompleted)
                await exchange.SendDeltaAsync(new string('x', 2000));
        };
        var environment = upstream.OpenAIEnvironment(false);
        environment["STREAMING_DAEMON_TIMEOUTS__WRITE_TIMEOUT_MS"] = "400";
        environment["STREAMING_DAEMON_STREAMING__MAX_PENDING_BYTES"] = "16384";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        using var client = Clients.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");

        var request = await upstream.NextRequestAsync(Clients.Patience);
        await request.Aborted.WaitAsync(Clients.Patience);
        Assert.Equal("SlowClient", await daemon.OutcomeAsync());
        Assert.Contains("streaming_daemon_streams_total{backend=\"openai\",outcome=\"SlowClient\"} 1\n",
            await daemon.MetricsAsync(), StringComparison.Ordinal);
        // What the kernel held is still its own, and no more than that came.
        var text = await Clients.ReadTextAsync(client);
        Assert.StartsWith(Answer.StreamHead, text, StringComparison.Ordinal);
        Assert.DoesNotContain("[DONE]", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Client_that_reads_long_after_the_daemon_has_closed_still_gets_all(bool tcp)
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_TIMEOUTS__DRAIN_TIMEOUT_MS"] = "1" }, true,
            "--delay", "0");
        var before = daemon.OpenSockets();
        using var client = tcp ? Clients.HandOverTcp(daemon.SocketPath, "{}") : Clients.HandOver(daemon.SocketPath, "{}");
        Assert.Equal("Completed", await daemon.OutcomeAsync());
        await Eventually.TrueAsync(() => daemon.OpenSockets() <= before);

        // A byte at a time, from what the kernels keep.
        var bytes = new List<byte>();
        var one = new byte[1];
        while (await client.ReceiveAsync(one, System.Net.Sockets.SocketFlags.None).WaitAsync(Clients.Patience) == 1)
            bytes.Add(one[0]);

        Assert.True(Answer.Parse([.. bytes]).IsDone);
    }

    [Fact]
    public async Task Rest_of_a_request_that_keeps_coming_resets_no_end_of_an_answer()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "5");
        var (browser, server) = Clients.TcpPair();
        await browser.SendAsync(new byte[50_000]);
        Clients.HandOverDescriptor(daemon.SocketPath, "{}"u8, (int)server.Handle);
        server.Dispose();

        // More of it amid the answer, and again when its end has been read.
        var early = await Clients.ReadUntilAsync(browser, "User ID");
        await browser.SendAsync(new byte[50_000]);
        var rest = await Clients.ReadTextAsync(browser);
        await browser.SendAsync(new byte[100]);

        Assert.True(Answer.Parse(System.Text.Encoding.UTF8.GetBytes(early + rest)).IsDone);
        browser.Dispose();
    }
}
