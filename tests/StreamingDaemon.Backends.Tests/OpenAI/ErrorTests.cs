using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class ErrorTests
{
    [Theory]
    [InlineData(400, "application/json",
        """{"error":{"message":"Bad model","type":"invalid_request_error","code":"model_not_found"}}""",
        "invalid_request_error/model_not_found: Bad model")]
    [InlineData(401, "application/json",
        """{"error":{"message":"Bad key: sk-secret-0123456789.","code":"invalid_api_key"}}""",
        "invalid_api_key: Bad key: [key].")]
    [InlineData(422, "application/json", """{"detail":"Field required"}""", "HTTP 422: Field required")]
    [InlineData(429, "application/json", """{"error":"slow down"}""", "HTTP 429: slow down")]
    [InlineData(500, "text/plain", "oh\r\nno\u001b[31m", "HTTP 500: oh no [31m")]
    [InlineData(502, "text/html", "<html><body>Bad Gateway</body></html>", "HTTP 502")]
    [InlineData(503, "text/plain", "", "HTTP 503")]
    public async Task Refusal_is_a_failure_with_status_and_reason(
        int status, string contentType, string body, string reasonEnd)
    {
        await using var upstream = await Upstream.StartAsync(
            scenario: exchange => exchange.RespondAsync(status, contentType, body));
        var result = await upstream.StreamAsync();
        Assert.Equal((StreamOutcome.UpstreamError, status), (result.Outcome, result.UpstreamStatus));
        Assert.EndsWith(reasonEnd, result.Reason, StringComparison.Ordinal);
        Assert.DoesNotContain(Upstream.ApiKey, result.Reason, StringComparison.Ordinal);
        Assert.Equal(0, upstream.Sink.Started);
        Assert.Single(upstream.Server.Requests); // No retries.
    }

    [Fact]
    public async Task Long_error_body_is_neither_read_nor_reported_whole()
    {
        await using var upstream = await Upstream.StartAsync(
            scenario: exchange => exchange.RespondAsync(500, "text/plain", new string('e', 1_000_000)));
        var result = await upstream.StreamAsync();
        Assert.InRange(result.Reason!.Length, UpstreamErrorText.MaxLength, UpstreamErrorText.MaxLength + 1);
    }

    [Fact]
    public async Task Error_body_that_never_ends_is_waited_for_no_longer_than_its_limit()
    {
        await using var upstream = await Upstream.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync(500, "text/plain");
            await exchange.SendRawAsync("half");
            await exchange.WaitForAbortAsync(TestLimits.Wait);
        });
        var result = await upstream.StreamAsync();
        Assert.Equal("the upstream answered HTTP 500: half", result.Reason);
        await (await upstream.Server.NextRequestAsync(TestLimits.Wait)).Aborted.WithinLimit();
    }

    [Theory]
    [InlineData(301)]
    [InlineData(307)]
    public async Task Redirect_is_a_failure_and_not_followed(int status)
    {
        await using var upstream = await Upstream.StartAsync(scenario: exchange =>
        {
            exchange.Context.Response.Headers.Location = exchange.Request.Path;
            return exchange.StartAsync(status, null);
        });
        var result = await upstream.StreamAsync();
        Assert.Equal((StreamOutcome.UpstreamError, status), (result.Outcome, result.UpstreamStatus));
        Assert.Contains("redirects", result.Reason, StringComparison.Ordinal);
        Assert.Single(upstream.Server.Requests);
    }

    [Theory]
    [InlineData("application/json", "{\"error\":{\"message\":\"boom\"}}",
        "'application/json', not with text/event-stream: boom")]
    [InlineData("text/html", "<html>login</html>", "'text/html', not with text/event-stream")]
    [InlineData(null, "x", "'', not with text/event-stream: x")]
    public async Task Answer_that_is_no_event_stream_is_a_failure(
        string? contentType, string body, string reasonEnd)
    {
        await using var upstream = await Upstream.StartAsync(
            scenario: exchange => exchange.RespondAsync(200, contentType!, body));
        var result = await upstream.StreamAsync();
        Assert.Equal((StreamOutcome.UpstreamError, 200), (result.Outcome, result.UpstreamStatus));
        Assert.EndsWith(reasonEnd, result.Reason, StringComparison.Ordinal);
        Assert.Equal(0, upstream.Sink.Started);
    }

    [Fact]
    public async Task Event_stream_with_a_charset_is_one()
    {
        await using var upstream = await Upstream.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync(contentType: "Text/Event-Stream; charset=utf-8");
            await exchange.SendDoneAsync();
        });
        Assert.Equal(BackendResult.Completed, await upstream.StreamAsync());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Refused_connection_is_a_failure(bool http2)
    {
        int port;
        using (var listener = new TcpListener(IPAddress.Loopback, 0))
        {
            listener.Start();
            port = ((IPEndPoint)listener.LocalEndpoint).Port;
        }

        var result = await StreamAsync(new Uri($"http://127.0.0.1:{port}/v1"), http2: http2);
        Assert.Equal((StreamOutcome.UpstreamError, (int?)null), (result.Outcome, result.UpstreamStatus));
        Assert.StartsWith(
            "the upstream cannot be reached: Connection refused", result.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Missing_socket_is_a_failure()
    {
        var result = await StreamAsync(new Uri("http://localhost/v1"), socket: "/nonexistent/llm.sock");
        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        Assert.Contains("cannot be reached", result.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Name_that_does_not_resolve_is_a_failure()
    {
        var result = await StreamAsync(new Uri("http://llm.invalid/v1"));
        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        Assert.StartsWith("the upstream's name cannot be resolved", result.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Upstream_that_accepts_but_never_speaks_TLS_is_a_timeout()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        var result = await StreamAsync(new Uri($"https://127.0.0.1:{port}/v1"), connectTimeoutMs: 200);
        Assert.Equal(StreamOutcome.UpstreamTimeout, result.Outcome);
        Assert.Contains("200 ms", result.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Server_without_HTTP_2_is_a_failure_where_it_is_prior_knowledge()
    {
        await using var upstream = await Upstream.StartAsync(
            FakeLlmTransport.Http1, options => options with { Http2Enabled = true });
        var result = await upstream.StreamAsync();
        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        Assert.NotEqual("", result.Reason);
    }

    [Fact]
    public async Task What_the_sink_throws_is_not_blamed_on_the_upstream()
    {
        await using var upstream = await Upstream.StartAsync();
        upstream.Sink = new RecordingSink { OnWrite = _ => throw new IOException("the sink's") };
        var thrown = await Assert.ThrowsAsync<IOException>(() => upstream.StreamAsync());
        Assert.Equal("the sink's", thrown.Message);
    }

    private static async Task<BackendResult> StreamAsync(
        Uri apiBase, string? socket = null, bool http2 = true, int connectTimeoutMs = 10_000)
    {
        using var backend = new OpenAIBackend(new OpenAIOptions
        {
            ApiKey = Upstream.ApiKey,
            ApiBase = apiBase,
            ApiSocket = socket,
            Http2Enabled = http2,
            ConnectTimeoutMs = connectTimeoutMs,
        });
        return await backend.StreamAsync(Upstream.Prompt, new RecordingSink(), default).WithinLimit();
    }
}
