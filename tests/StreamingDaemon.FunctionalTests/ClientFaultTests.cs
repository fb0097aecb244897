using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

[Trait("Quick", "Yes")]
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
        environment["STREAMING_DAEMON_STREAMING__MAX_PENDING_BYTES"] = "32768";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");

        var request = await upstream.NextRequestAsync(TestClient.Patience);
        await request.Aborted.WaitAsync(TestClient.Patience);
        Assert.Equal("SlowClient", await daemon.OutcomeAsync());
        Assert.Contains("streaming_daemon_streams_total{backend=\"openai\",outcome=\"SlowClient\"} 1\n",
            await daemon.MetricsAsync(), StringComparison.Ordinal);
        // The client gets what was in the kernel's buffers, and nothing more.
        var text = await TestClient.ReadTextAsync(client);
        Assert.StartsWith(Answer.StreamHead, text, StringComparison.Ordinal);
        Assert.DoesNotContain("[DONE]", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task Client_that_leaves_or_resets_before_the_head_or_inside_an_event_cancels_its_upstream(
        bool insideEvent, bool resets)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            if (insideEvent)
            {
                await exchange.StartAsync();
                // Larger than max_pending_bytes and a socket's buffer: the client gets the start of it.
                await exchange.SendDeltaAsync(new string('x', 900_000));
            }

            await exchange.WaitForAbortAsync(TestClient.Patience);
        };
        var environment = upstream.OpenAIEnvironment(false);
        environment["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "60000";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        var client = TestClient.HandOverTcp(daemon.SocketPath, """{"prompt":"hi"}""");
        var request = await upstream.NextRequestAsync(TestClient.Patience);
        if (insideEvent)
        {
            var begun = await TestClient.ReadUntilAsync(client, "data: {\"content\":\"xxx");
            Assert.DoesNotContain("\n\n", begun[Answer.StreamHead.Length..], StringComparison.Ordinal);
        }

        Assert.False(request.Aborted.IsCompleted);
        if (resets)
            client.LingerState = new System.Net.Sockets.LingerOption(true, 0);
        client.Dispose();

        await request.Aborted.WaitAsync(TestClient.Patience);
        var line = Assert.Single(await daemon.AccessLogAsync(1));
        Assert.Equal("ClientGone", line.GetProperty("Outcome").GetString());
        Assert.Equal(insideEvent ? 200 : 0, line.GetProperty("Status").GetInt32());
        Assert.Single(upstream.Requests);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Upstream_of_a_client_that_does_not_read_stands_still_and_goes_on_when_it_does(bool http2)
    {
        const int deltas = 1_000;
        const int size = 40_000;
        var written = 0;
        await using var upstream =
            await FakeLlmServer.StartAsync(http2 ? FakeLlmTransport.H2c : FakeLlmTransport.Http1);
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < deltas; i++)
            {
                await exchange.SendDeltaAsync(new string('x', size));
                Interlocked.Increment(ref written);
            }

            await exchange.SendDoneAsync();
        };
        await using var daemon = await DaemonProcess.StartAsync(
            upstream.OpenAIEnvironment(http2), true, "--backend", "openai");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");
        await upstream.NextRequestAsync(TestClient.Patience);

        // The upstream stops writing once all buffers are full: a hundred looks in a row find the same count.
        var (last, still) = (0, 0);
        await Eventually.TrueAsync(() =>
        {
            var now = Volatile.Read(ref written);
            still = now > 0 && now == last ? still + 1 : 0;
            last = now;
            return still == 100;
        });
        Assert.InRange(last, 1, deltas / 2);

        var answer = Answer.Parse(await TestClient.ReadToEndAsync(client));
        Assert.True(answer.IsDone);
        Assert.Equal(deltas, answer.Contents.Count);
        Assert.Equal(deltas, Volatile.Read(ref written));
        Assert.Equal("Completed", await daemon.OutcomeAsync());
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
        using var client = tcp ? TestClient.HandOverTcp(daemon.SocketPath, "{}") : TestClient.HandOver(daemon.SocketPath, "{}");
        Assert.Equal("Completed", await daemon.OutcomeAsync());
        await Eventually.TrueAsync(() => daemon.OpenSockets() <= before);

        // Read one byte at a time: everything is in the kernel's buffers.
        var bytes = new List<byte>();
        var one = new byte[1];
        while (await client.ReceiveAsync(one, System.Net.Sockets.SocketFlags.None).WaitAsync(TestClient.Patience) == 1)
            bytes.Add(one[0]);

        Assert.True(Answer.Parse([.. bytes]).IsDone);
    }

    [Fact]
    public async Task Rest_of_a_request_that_keeps_coming_resets_no_end_of_an_answer()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "5");
        var (browser, server) = TestClient.TcpPair();
        await browser.SendAsync(new byte[50_000]);
        TestClient.HandOverDescriptor(daemon.SocketPath, "{}"u8, (int)server.Handle);
        server.Dispose();

        // Send more of the request during the answer, and again after the answer's end was read.
        var early = await TestClient.ReadUntilAsync(browser, "User ID");
        await browser.SendAsync(new byte[50_000]);
        var rest = await TestClient.ReadTextAsync(browser);
        await browser.SendAsync(new byte[100]);

        Assert.True(Answer.Parse(System.Text.Encoding.UTF8.GetBytes(early + rest)).IsDone);
        browser.Dispose();
    }
}
