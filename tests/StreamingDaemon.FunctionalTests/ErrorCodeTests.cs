using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>One shape for every error, and the same code in the answer, the log and the metrics.</summary>
public sealed class ErrorCodeTests
{
    private const string Hi = """{"prompt":"hi"}""";

    [Theory]
    [InlineData("not json", "", 400, "bad_handoff")]
    [InlineData("{}", "", 400, "no_prompt")]
    [InlineData("LARGE", "small", 413, "handoff_too_large")]
    [InlineData(Hi, "", 502, "upstream_unavailable")]
    public async Task Refusal_has_one_code_in_answer_log_and_metrics(string data, string setting, int status, string code)
    {
        var environment = new Dictionary<string, string>
        {
            // Nobody listens there.
            ["OPENAI_API_BASE"] = "http://127.0.0.1:1/v1",
            ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
            ["OPENAI_MAX_RETRIES"] = "0",
            ["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "60000",
        };
        if (setting.Length > 0)
            environment["STREAMING_DAEMON_STREAMING__MAX_HANDOFF_BYTES"] = "1024";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        var answer = await daemon.AskAsync(
            data == "LARGE" ? $$"""{"prompt":"{{new string('x', 5000)}}"}""" : data);

        AssertStatus(answer, status, code);
        await AssertCountedAsync(daemon, code);
    }

    [Theory]
    [InlineData(401, 502, "upstream_refused")]
    [InlineData(404, 502, "upstream_refused")]
    [InlineData(429, 503, "upstream_busy")]
    [InlineData(500, 502, "upstream_failed")]
    public async Task Refusal_of_the_upstream_has_a_code_of_its_kind(int upstreams, int status, string code)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => exchange.RespondAsync(upstreams, "application/json", "{}");
        var environment = upstream.OpenAIEnvironment(false);
        // The status must not depend on the machine's load. The retries of a 429 and a 500 end soon.
        environment["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "60000";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        AssertStatus(await daemon.AskAsync(Hi), status, code);
        await AssertCountedAsync(daemon, code);
    }

    [Fact]
    public async Task Limit_of_a_window_is_told_from_that_of_streams_at_once()
    {
        await using var daemon = await DaemonProcess.StartAsync(new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_RATE_LIMIT__REQUESTS"] = "2",
            ["STREAMING_DAEMON_RATE_LIMIT__CONCURRENT_STREAMS"] = "1",
        }, true, "--delay", "60000");
        using (var running = TestClient.HandOver(daemon.SocketPath, """{"user_id":7}"""))
        {
            await TestClient.ReadUntilAsync(running, "\n\n");
            AssertStatus(await daemon.AskAsync("""{"user_id":7}"""), 429, "too_many_streams");
        }

        // Two log lines: the refused stream's, and that of the client that left.
        await daemon.AccessLogAsync(2);
        using (var again = TestClient.HandOver(daemon.SocketPath, """{"user_id":7}"""))
            await TestClient.ReadUntilAsync(again, "\n\n");
        await daemon.AccessLogAsync(3);
        AssertStatus(await daemon.AskAsync("""{"user_id":7}"""), 429, "rate_limited");

        var codes = (await daemon.AccessLogAsync(4)).Select(line => line.GetProperty("Code").GetString());
        Assert.Equal([null, null, "rate_limited", "too_many_streams"], codes.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Error_in_a_stream_has_its_code_and_request_id_as_fields()
    {
        await using var daemon = await DaemonProcess.StartAsync(new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_TIMEOUTS__STREAM_TIMEOUT_MS"] = "300",
        }, true, "--delay", "60000");

        var answer = await daemon.AskAsync("""{"request_id":"r-1"}""");

        using var error = JsonDocument.Parse(answer.Events[^1]["data: ".Length..]);
        Assert.Equal(["error", "code", "request_id"], error.RootElement.EnumerateObject().Select(m => m.Name));
        Assert.Equal("stream_timeout", error.RootElement.GetProperty("code").GetString());
        Assert.Equal("r-1", error.RootElement.GetProperty("request_id").GetString());
        await AssertCountedAsync(daemon, "stream_timeout");
    }

    private static void AssertStatus(Answer answer, int status, string code)
    {
        Assert.StartsWith($"HTTP/1.1 {status} ", answer.StatusLine, StringComparison.Ordinal);
        Assert.Matches($$"""^\{"error":\{"code":"{{Regex.Escape(code)}}","message":"[^"]+","request_id":"[^"]+"\}\}\n$""",
            answer.Body);
    }

    private static async Task AssertCountedAsync(DaemonProcess daemon, string code)
    {
        var line = Assert.Single(await daemon.AccessLogAsync(1));
        Assert.Equal(code, line.GetProperty("Code").GetString());
        await Eventually.TrueAsync(async () => (await daemon.MetricsAsync())
            .Contains($"streaming_daemon_errors_total{{code=\"{code}\"}} 1", StringComparison.Ordinal));
    }
}
