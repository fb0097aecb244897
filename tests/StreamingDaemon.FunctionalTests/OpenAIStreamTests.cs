using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

[Trait("Quick", "Yes")]
public sealed class OpenAIStreamTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData(FakeLlmTransport.Http2Tls, true, "HTTP/2")]
    [InlineData(FakeLlmTransport.Http1, false, "HTTP/1.1")]
    [InlineData(FakeLlmTransport.H2c, true, "HTTP/2")]
    [InlineData(FakeLlmTransport.UnixH2c, true, "HTTP/2")]
    [InlineData(FakeLlmTransport.UnixHttp1, false, "HTTP/1.1")]
    public async Task Answer_of_the_reference_upstream_is_636_bytes_over_each_transport(
        FakeLlmTransport transport, bool http2, string protocol)
    {
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        await using var daemon = await DaemonProcess.StartAsync(
            upstream.OpenAIEnvironment(http2), true, "--backend", "openai");
        using var client = TestClient.HandOver(daemon.SocketPath,
            """{"prompt":"hi","system":"be brief","model":"m-1","max_tokens":"7","temperature":0.5}""");

        var bytes = await TestClient.ReadToEndAsync(client);

        Assert.Equal(636, bytes.Length);
        var answer = Answer.Parse(bytes);
        Assert.Equal(FakeLlmScenarios.Words, answer.Contents);
        Assert.True(answer.IsDone);
        var request = await upstream.NextRequestAsync(s_limit);
        Assert.Equal(protocol, request.Protocol);
        const string Messages =
            """[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]""";
        Assert.Equal(
            $$"""{"model":"m-1","messages":{{Messages}},"max_tokens":7,"temperature":0.5,"stream":true}""",
            request.Body);
    }

    [Fact]
    public async Task Client_that_disconnects_cancels_the_upstream_call()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await exchange.WaitForAbortAsync(s_limit);
        };
        await using var daemon = await upstream.StartDaemonAsync();
        var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");
        _ = await TestClient.ReadUntilAsync(client, "one");
        var request = await upstream.NextRequestAsync(s_limit);
        Assert.False(request.Aborted.IsCompleted);

        client.Dispose();

        // The upstream sends nothing, so only the poll of the client's socket can notice this.
        await request.Aborted.WaitAsync(s_limit);
        Assert.Equal("ClientGone", await daemon.OutcomeAsync());
    }

    [Fact]
    public async Task Refused_upstream_is_a_502_and_not_an_empty_200()
    {
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "k",
            ["OPENAI_API_BASE"] = $"http://127.0.0.1:{DaemonProcess.FreePort()}/v1",
        };
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        var answer = await daemon.AskAsync("""{"prompt":"hi","request_id":"r\"1\r\n"}""");

        Assert.Equal("HTTP/1.1 502 Bad Gateway", answer.StatusLine);
        Assert.Matches("\"request_id\":\"r_1__-[0-9a-f]{16}\"", answer.Body);
        Assert.Equal("UpstreamError", await daemon.OutcomeAsync());
    }

    [Theory]
    [InlineData(401)]
    [InlineData(500)]
    public async Task Upstream_that_refuses_is_a_502_that_says_nothing_of_the_upstream(int status)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => exchange.RespondAsync(status, "application/json",
            """{"error":{"message":"Incorrect API key sk-secret-of-the-test","type":"auth"}}""");
        await using var daemon = await upstream.StartDaemonAsync();

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal("HTTP/1.1 502 Bad Gateway", answer.StatusLine);
        Assert.DoesNotContain("API key", answer.Raw, StringComparison.Ordinal);
        Assert.Equal("UpstreamError", await daemon.OutcomeAsync());
        Assert.DoesNotContain("sk-secret", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Upstream_that_breaks_after_the_head_is_one_error_event_and_no_done()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var arrived = new TaskCompletionSource();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("begun");
            // Wait, because a reset may overtake the data sent before it.
            await arrived.Task;
            exchange.Reset();
        };
        await using var daemon = await upstream.StartDaemonAsync();
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");

        var begun = await TestClient.ReadUntilAsync(client, "begun\"}\n\n");
        arrived.SetResult();
        var rest = await TestClient.ReadTextAsync(client);

        Assert.Equal(Answer.StreamHead + "data: {\"content\":\"begun\"}\n\n", begun);
        Assert.Matches("^data: \\{\"error\":\"[^\"]+\",\"code\":\"upstream_broke_off\",\"request_id\":\"[^\"]+\"\\}\n\n$", rest);
        Assert.Equal("UpstreamError", await daemon.OutcomeAsync());
    }

    [Fact]
    public async Task Silent_upstream_is_a_504_before_the_head()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => exchange.WaitForAbortAsync(s_limit);
        var environment = upstream.OpenAIEnvironment(false);
        // Longer, so that the head still waits when the time is up.
        environment["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "20000";
        environment["STREAMING_DAEMON_TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS"] = "1000";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal("HTTP/1.1 504 Gateway Timeout", answer.StatusLine);
        Assert.Equal("UpstreamTimeout", await daemon.OutcomeAsync());
        await (await upstream.NextRequestAsync(s_limit)).Aborted.WaitAsync(s_limit);
    }

    [Fact]
    public async Task Upstream_slower_than_the_head_wait_gets_its_head_sent_and_its_error_as_an_event()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var release = new TaskCompletionSource();
        upstream.Scenario = async exchange =>
        {
            await release.Task;
            await exchange.RespondAsync(500, "text/plain", "no");
        };
        var environment = upstream.OpenAIEnvironment(false);
        environment["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "50";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");

        Assert.Equal(Answer.StreamHead, await TestClient.ReadUntilAsync(client, "\r\n\r\n"));
        release.SetResult();

        Assert.StartsWith("data: {\"error\":\"", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Head_wait_of_zero_sends_the_head_before_the_upstream_is_asked()
    {
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "k",
            ["OPENAI_API_BASE"] = $"http://127.0.0.1:{DaemonProcess.FreePort()}/v1",
            ["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "0",
        };
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal(Answer.StreamHead, answer.Head);
        Assert.NotNull(answer.Error);
        Assert.False(answer.IsDone);
    }

    [Fact]
    public async Task Client_that_is_behind_is_not_taken_for_an_upstream_that_is_silent()
    {
        const int Deltas = 500;
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < Deltas; i++)
                await exchange.SendDeltaAsync(new string('x', 2000));
            await exchange.SendDoneAsync();
        };
        var environment = upstream.OpenAIEnvironment(false);
        environment["STREAMING_DAEMON_TIMEOUTS__IDLE_TIMEOUT_MS"] = "1000";
        environment["STREAMING_DAEMON_STREAMING__MAX_PENDING_BYTES"] = "32768";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");
        _ = await upstream.NextRequestAsync(s_limit);

        // Not a wait for an event: nothing may happen for three times the idle timeout.
        await Task.Delay(3000);
        var answer = Answer.Parse(await TestClient.ReadToEndAsync(client));

        Assert.True(answer.IsDone);
        Assert.Equal(Deltas, answer.Contents.Count);
        Assert.Equal("Completed", await daemon.OutcomeAsync());
    }

    [Fact]
    public async Task Request_without_prompt_is_a_400_and_no_call()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        Assert.Equal("HTTP/1.1 400 Bad Request", (await daemon.AskAsync("{}")).StatusLine);
        Assert.Empty(upstream.Requests);
    }

    [Fact]
    public async Task Handoff_chooses_its_backend_and_backend_url_is_ignored()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync("--delay", "0");

        var mock = await daemon.AskAsync("""{"prompt":"hi","backend":"mock"}""");
        var other = await daemon.AskAsync(
            """{"prompt":"hi","backend":"unknown","backend_url":"http://127.0.0.1:1/","test_pattern":"short"}""");

        Assert.Equal("[DONE-CONTENT]", mock.Contents[17]);
        Assert.Equal(FakeLlmScenarios.TextsOf("short"), other.Contents);
    }

    [Theory]
    [InlineData(422, "application/json", """{"detail":[{"type":"too_long","input":"my secret diagnosis"}]}""")]
    [InlineData(400, "application/json", """{"error":{"type":"x","message":"bad: my secret diagnosis"}}""")]
    [InlineData(500, "text/plain", "cannot answer my secret diagnosis")]
    [InlineData(200, "text/event-stream", "data: {\"error\":{\"message\":\"my secret diagnosis\"}}\n\n")]
    public async Task Upstream_that_quotes_the_prompt_brings_it_into_no_log(int status, string type, string body)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => exchange.RespondAsync(status, type, body);
        await using var daemon = await upstream.StartDaemonAsync();

        _ = await daemon.AskAsync("""{"prompt":"my secret diagnosis"}""");

        Assert.Equal("UpstreamError", await daemon.OutcomeAsync());
        Assert.Contains("the upstream", daemon.ErrorText, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Logs_name_the_stream_and_never_a_prompt_an_answer_or_a_key()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        _ = await daemon.AskAsync("""{"prompt":"very private words","user_id":9,"request_id":"req-9","model":"m"}""");

        var line = Assert.Single(await daemon.AccessLogAsync(1));
        Assert.Equal("Completed", line.GetProperty("Outcome").GetString());
        Assert.Equal("req-9", line.GetProperty("RequestId").GetString());
        Assert.Equal(9, line.GetProperty("UserId").GetInt64());
        Assert.Equal("openai", line.GetProperty("Backend").GetString());
        Assert.Equal("m", line.GetProperty("Model").GetString());
        Assert.Equal(636, line.GetProperty("Bytes").GetInt64());
        Assert.Equal(18, line.GetProperty("Events").GetInt32());
        Assert.Equal(JsonValueKind.Number, line.GetProperty("TtftMs").ValueKind);
        Assert.Equal(JsonValueKind.Number, line.GetProperty("DurationMs").ValueKind);
        foreach (var secret in new[] { "very private", FakeLlmScenarios.Words[0], "sk-secret" })
            Assert.DoesNotContain(secret, daemon.ErrorText, StringComparison.Ordinal);
    }
}
