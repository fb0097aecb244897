using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Timeouts and retries of an upstream, and who learns that a stream has ended.</summary>
[Trait("Takes", "Long")]
public sealed class UpstreamWaitTests
{
    private const string Begun = "data: {\"content\":\"" + FakeLlmFaults.Begun + "\"}\n\n";

    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData("says_nothing", "TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS", "UpstreamTimeout", "FirstTokenTimeout")]
    [InlineData("silent_after_head", "TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS", "UpstreamTimeout", "FirstTokenTimeout")]
    [InlineData("silent_mid_stream", "TIMEOUTS__IDLE_TIMEOUT_MS", "UpstreamTimeout", "IdleTimeout")]
    [InlineData("only_comments", "TIMEOUTS__STREAM_TIMEOUT_MS", "StreamTimeout", null)]
    public async Task Silence_ends_at_its_limit_with_an_error_and_stops_the_upstream(
        string fault, string timeout, string outcome, string? reason)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = FakeLlmFaults.Named(fault);
        await using var daemon = await StartAsync(upstream, false, (timeout, "1000"));

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        if (fault is "says_nothing" or "silent_after_head")
            Assert.Equal("HTTP/1.1 504 Gateway Timeout", answer.StatusLine);
        else
            Assert.NotNull(answer.Error);
        Assert.False(answer.IsDone);
        await Assert.Single(upstream.Requests).Aborted.WaitAsync(s_limit);
        Assert.Equal(outcome, await daemon.OutcomeAsync());
        if (reason is not null)
            await CountsAsync(daemon, "upstream_errors", "reason", reason, 1);
        await CountsAsync(daemon, "streams", "backend=\"openai\",outcome", outcome, 1);
    }

    [Fact]
    public async Task Comments_are_life_for_longer_than_the_idle_timeout()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = FakeLlmFaults.Named("only_comments");
        await using var daemon = await StartAsync(upstream, false,
            ("TIMEOUTS__IDLE_TIMEOUT_MS", "1000"), ("TIMEOUTS__STREAM_TIMEOUT_MS", "3000"));

        _ = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal("StreamTimeout", await daemon.OutcomeAsync());
    }

    [Fact]
    public async Task Whole_answer_on_an_open_connection_ends_whole_whatever_the_idle_timeout()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync(FakeLlmFaults.Begun);
            await exchange.SendFinishAsync();
            await exchange.WaitForAbortAsync(s_limit);
        };
        await using var daemon = await StartAsync(upstream, false, ("TIMEOUTS__IDLE_TIMEOUT_MS", "300"));

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal([FakeLlmFaults.Begun], answer.Contents);
        Assert.True(answer.IsDone);
        await Assert.Single(upstream.Requests).Aborted.WaitAsync(s_limit);
        Assert.Equal("Completed", await daemon.OutcomeAsync());
    }

    [Theory]
    [InlineData("status_503_json", false)]
    [InlineData("status_429_html", true)]
    [InlineData("reset_before_head", true)]
    public async Task Fault_that_passes_is_a_whole_answer_and_one_retry_in_the_metrics(string fault, bool http2)
    {
        await using var upstream =
            await FakeLlmServer.StartAsync(http2 ? FakeLlmTransport.H2c : FakeLlmTransport.Http1);
        var isFirst = 1;
        upstream.Scenario = exchange => Interlocked.Exchange(ref isFirst, 0) == 1
            ? FakeLlmFaults.Named(fault)(exchange)
            : FakeLlmScenarios.RunAsync(exchange);
        await using var daemon = await StartAsync(upstream, http2, ("STREAMING__HEAD_WAIT_MS", "20000"));

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal(FakeLlmScenarios.Words, answer.Contents);
        Assert.True(answer.IsDone);
        Assert.Equal(2, upstream.Requests.Count);
        Assert.Equal("Completed", await daemon.OutcomeAsync());
        var metrics = await daemon.MetricValuesAsync();
        Assert.Equal(1, metrics.Where(m => m.Key.Contains("upstream_retries", StringComparison.Ordinal))
            .Sum(m => m.Value));
        Assert.Equal(0, metrics.Where(m => m.Key.Contains("upstream_errors", StringComparison.Ordinal))
            .Sum(m => m.Value));
    }

    [Fact]
    public async Task Retry_that_would_miss_the_head_wait_is_not_made_so_that_the_error_is_still_a_status()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange =>
        {
            exchange.Context.Response.Headers.RetryAfter = "10";
            return exchange.StartAsync(503, null);
        };
        await using var daemon = await StartAsync(upstream, false, ("STREAMING__HEAD_WAIT_MS", "9000"));

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal("HTTP/1.1 502 Bad Gateway", answer.StatusLine);
        Assert.Single(upstream.Requests);
    }

    [Theory]
    [InlineData(null, 5)]
    [InlineData("2", 2)]
    [InlineData("0", 1)]
    [InlineData("86400", 300)]
    [InlineData("Wed, 01 Jan 2020 00:00:00 GMT", 1)]
    [InlineData("soon", 5)]
    public async Task Upstream_at_its_limit_is_a_503_with_its_retry_after_in_bounds(string? header, int seconds)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange =>
        {
            exchange.Context.Response.Headers.RetryAfter = header;
            return exchange.StartAsync(429, null);
        };
        var environment = upstream.OpenAIEnvironment(false);
        environment["OPENAI_MAX_RETRIES"] = "0";
        // No status may become an event because the machine is slow.
        environment["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "20000";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal("HTTP/1.1 503 Service Unavailable", answer.StatusLine);
        Assert.Contains($"\r\nRetry-After: {seconds}\r\n", answer.Head, StringComparison.Ordinal);
        Assert.Single(upstream.Requests);
        Assert.Equal("UpstreamError", await daemon.OutcomeAsync());
    }

    [Theory]
    [InlineData("http://llm.invalid/v1", true, "Dns", "name cannot be resolved")]
    [InlineData(null, false, "Tls", "certificate")]
    [InlineData(null, true, "Protocol", "set OPENAI_HTTP2_ENABLED=false")]
    public async Task Upstream_that_cannot_be_talked_to_is_a_502_and_the_log_says_how_to_fix_it(
        string? address, bool plain, string reason, string log)
    {
        await using var upstream =
            await FakeLlmServer.StartAsync(plain ? FakeLlmTransport.Http1 : FakeLlmTransport.Http2Tls);
        var environment = upstream.OpenAIEnvironment(true);
        environment["OPENAI_INSECURE_SSL"] = "false";
        environment["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "20000";
        if (address is not null)
            environment["OPENAI_API_BASE"] = address;
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal("HTTP/1.1 502 Bad Gateway", answer.StatusLine);
        var line = Assert.Single(await daemon.AccessLogAsync(1));
        Assert.Contains(log, line.GetProperty("Reason").GetString(), StringComparison.Ordinal);
        Assert.Empty(upstream.Requests);
        await CountsAsync(daemon, "upstream_errors", "reason", reason, 1);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Silence_after_the_preface_of_HTTP_2_is_logged_with_the_fix(bool http2)
    {
        await using var server = new BrokenServer(BrokenServerKind.Mute);
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string>
            {
                ["OPENAI_API_KEY"] = "sk-a",
                ["OPENAI_API_BASE"] = server.BaseAddress().ToString(),
                ["OPENAI_HTTP2_ENABLED"] = http2 ? "true" : "false",
                ["STREAMING_DAEMON_TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS"] = "500",
            }, true, "--backend", "openai");

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal("HTTP/1.1 504 Gateway Timeout", answer.StatusLine);
        Assert.Equal("the upstream sent no token in time"
            + (http2 ? "; if it does not speak HTTP/2, set OPENAI_HTTP2_ENABLED=false" : ""),
            (await daemon.AccessLogAsync(1))[0].GetProperty("Reason").GetString());
    }

    [Fact]
    public async Task Chunk_whose_length_is_no_number_is_the_text_so_far_and_an_error_event()
    {
        await using var server = new BrokenServer(BrokenServerKind.BadChunk);
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string>
            {
                ["OPENAI_API_KEY"] = "sk-a",
                ["OPENAI_API_BASE"] = server.BaseAddress().ToString(),
                ["OPENAI_HTTP2_ENABLED"] = "false",
            }, true, "--backend", "openai");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");
        var begun = await TestClient.ReadUntilAsync(client, Begun);

        server.Proceed();

        var answer = Answer.Parse(System.Text.Encoding.UTF8.GetBytes(begun + await TestClient.ReadTextAsync(client)));
        Assert.Equal([FakeLlmFaults.Begun], answer.Contents);
        Assert.NotNull(answer.Error);
        Assert.False(answer.IsDone);
        Assert.Equal(1, server.Attempts);
        Assert.Equal("UpstreamError", await daemon.OutcomeAsync());
        await CountsAsync(daemon, "upstream_errors", "reason", "BrokenOff", 1);
        Assert.DoesNotContain(FakeLlmFaults.Secret, daemon.ErrorText, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("says_nothing", false)]
    [InlineData("says_nothing", true)]
    [InlineData("silent_mid_stream", false)]
    [InlineData("silent_mid_stream", true)]
    public async Task Client_that_leaves_a_silent_upstream_is_followed_by_the_cancel_and_then_by_the_outcome(
        string fault, bool http2)
    {
        await using var upstream =
            await FakeLlmServer.StartAsync(http2 ? FakeLlmTransport.H2c : FakeLlmTransport.Http1);
        upstream.Scenario = FakeLlmFaults.Named(fault);
        // Only the poll of the client's socket can end this stream within the test's timeout.
        await using var daemon = await StartAsync(upstream, http2, ("STREAMING__HEAD_WAIT_MS", "60000"));
        var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");
        var request = await upstream.NextRequestAsync(s_limit);
        if (fault == "silent_mid_stream")
            _ = await TestClient.ReadUntilAsync(client, Begun);
        Assert.False(request.Aborted.IsCompleted);
        Assert.Equal(1, ConnectionsTo(upstream, daemon));
        Assert.Empty(daemon.LogLines("\"Outcome\""));

        client.Dispose();

        Assert.Equal("ClientGone", await daemon.OutcomeAsync());
        // Over HTTP/1.1, the daemon closes the connection before it writes the log line, so the kernel shows
        // it at once. Over HTTP/2, the stream's reset is only queued on the connection by then.
        if (!http2)
            Assert.Equal(0, ConnectionsTo(upstream, daemon));
        await request.Aborted.WaitAsync(s_limit);
        Assert.Single(upstream.Requests);
        var metrics = await daemon.MetricValuesAsync();
        Assert.Equal(0, metrics.Where(m => m.Key.Contains("upstream_errors", StringComparison.Ordinal))
            .Sum(m => m.Value));
    }

    /// <summary>Connections to the upstream that the daemon has not closed.</summary>
    private static int ConnectionsTo(FakeLlmServer upstream, DaemonProcess daemon) =>
        ((string[])["tcp", "tcp6"]).SelectMany(table => File.ReadLines($"/proc/{daemon.Pid}/net/{table}").Skip(1))
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            // Columns: remote address, state (01 is ESTABLISHED, 08 is CLOSE_WAIT).
            .Count(f => f[2].EndsWith($":{upstream.BaseAddress.Port:X4}", StringComparison.Ordinal)
                && (f[3] is "01" or "08"));

    private static Task<DaemonProcess> StartAsync(
        FakeLlmServer upstream, bool http2, params (string Name, string Value)[] settings)
    {
        var environment = upstream.OpenAIEnvironment(http2);
        // Long, so that on a slow machine a fault is still a status and not an event.
        environment["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "20000";
        foreach (var (name, value) in settings)
            environment["STREAMING_DAEMON_" + name] = value;
        return DaemonProcess.StartAsync(environment, true, "--backend", "openai");
    }

    // The counters change a moment after the log line.
    private static async Task CountsAsync(
        DaemonProcess daemon, string metric, string label, string value, double count)
    {
        var name = $"streaming_daemon_{metric}_total{{{label}=\"{value}\"}}";
        var deadline = DateTime.UtcNow + s_limit;
        while ((await daemon.MetricValuesAsync()).GetValueOrDefault(name) != count)
            Assert.True(DateTime.UtcNow < deadline, $"{name} is not {count}");
    }
}
