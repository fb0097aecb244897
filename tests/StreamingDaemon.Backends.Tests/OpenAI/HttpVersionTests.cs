using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>The HTTP version, if nobody chose one; and servers that need nothing but an address.</summary>
public sealed class HttpVersionTests
{
    [Theory]
    [InlineData(FakeLlmTransport.Http1, "HTTP/1.1", 1)]
    [InlineData(FakeLlmTransport.H2c, "HTTP/2", 1)]
    [InlineData(FakeLlmTransport.UnixHttp1, "HTTP/1.1", 1)]
    [InlineData(FakeLlmTransport.UnixH2c, "HTTP/2", 1)]
    [InlineData(FakeLlmTransport.Http1Tls, "HTTP/1.1", 0)]
    [InlineData(FakeLlmTransport.Http2Tls, "HTTP/2", 0)]
    [InlineData(FakeLlmTransport.UnixTls, "HTTP/2", 0)]
    public async Task Every_server_is_spoken_to_in_its_version_and_tried_at_most_once(
        FakeLlmTransport transport, string protocol, int probes)
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            transport, options => options with { Http2Enabled = null });
        for (var i = 0; i < 3; i++)
        {
            upstream.Sink = new RecordingSink();
            Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
            Assert.Empty(upstream.Sink.Retries);
        }

        Assert.All(upstream.Server.Requests, request => Assert.Equal(protocol, request.Protocol));
        var carriers = upstream.Server.Requests.DistinctBy(request => request.ConnectionId).Count();
        // A stream of HTTP/1.1 may begin to connect and then be given a connection that has become free.
        var spare = protocol == "HTTP/1.1" ? 3 - carriers : 0;
        Assert.InRange(upstream.Server.ConnectionsSoFar, carriers + probes, carriers + probes + spare);
    }

    [Fact]
    public async Task Streams_that_begin_together_share_one_probe()
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            FakeLlmTransport.H2c, options => options with { Http2Enabled = null });
        var results = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ =>
            upstream.Backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default))).WithinLimit();
        Assert.All(results, result => Assert.Equal(StreamOutcome.Completed, result.Outcome));
        var carriers = upstream.Server.Requests.DistinctBy(request => request.ConnectionId).Count();
        Assert.Equal(carriers + 1, upstream.Server.ConnectionsSoFar);
    }

    [Theory]
    [InlineData("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n")]
    [InlineData("garbage that is no frame")]
    [InlineData("x")]
    [InlineData("")]
    [InlineData(null)]
    public async Task First_reader_of_a_server_without_HTTP_2_gets_the_answer_whatever_it_says_to_the_preface(
        string? answer)
    {
        await using var server = new Http1Server(answer);
        using var backend = BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ApiKey = "",
            ApiBase = new Uri($"http://127.0.0.1:{server.Port}/v1"),
        });
        for (var i = 0; i < 2; i++)
        {
            var sink = new RecordingSink();
            Assert.Equal(StreamOutcome.Completed,
                (await backend.StreamAsync(BackendUnderTest.Prompt, sink, default).WithinLimit()).Outcome);
            Assert.Equal(("Hi", 0), (sink.Whole, sink.Retries.Count));
        }

        Assert.Equal((1, 2), (server.Prefaces, server.Heads.Count));
        Assert.All(server.Heads, head =>
            Assert.DoesNotContain("Authorization", head, StringComparison.OrdinalIgnoreCase));
    }

    [Fact]
    public async Task Server_without_HTTP_2_that_follows_one_with_it_is_found_out()
    {
        await using var http2 = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        await using var http1 = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        await using var address = new SilentRelay(http2.BaseAddress.Port);
        using var backend = BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ApiKey = "",
            ApiBase = new Uri($"http://127.0.0.1:{address.Port}/v1"),
        });
        foreach (var server in (FakeLlmServer[])[http2, http1])
        {
            address.TargetPort = server.BaseAddress.Port;
            Assert.Equal(StreamOutcome.Completed,
                (await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit()).Outcome);
            address.CloseAll();
        }

        Assert.Equal((1, 1), (http2.Requests.Count, http1.Requests.Count));
    }

    [Theory]
    [InlineData(BrokenServerKind.HangsUp, UpstreamFault.Reset)]
    [InlineData(BrokenServerKind.Garbage, UpstreamFault.Protocol)]
    [InlineData(BrokenServerKind.Http1BadRequest, UpstreamFault.ClientError)]
    public async Task Server_that_is_broken_in_every_version_is_an_error_and_no_loop(
        BrokenServerKind kind, UpstreamFault fault)
    {
        await using var server = new BrokenServer(kind);
        using var backend = BackendUnderTest.WithoutBackoff(
            new OpenAIOptions { ApiKey = "", ApiBase = server.BaseAddress() });
        var result = await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();
        Assert.Equal((StreamOutcome.UpstreamError, fault), (result.Outcome, result.Fault));
        Assert.InRange(server.Attempts, 1, 12);
    }

    [Theory]
    [InlineData("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("HTTP/1.1 505 No\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("no HTTP at all\r\n\r\n")]
    [InlineData("")]
    public async Task Busy_server_with_HTTP_2_alone_that_was_too_slow_for_the_probe_is_probed_again(
        string answerToHttp1)
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        await using var slow = new Http1Server(null, answerToHttp1);
        await using var address = new SilentRelay(slow.Port);
        using var backend = BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ApiKey = "",
            ApiBase = new Uri($"http://127.0.0.1:{address.Port}/v1"),
        });
        slow.OnHead = () => address.TargetPort = server.BaseAddress.Port;

        Assert.Equal(StreamOutcome.Completed,
            (await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit()).Outcome);

        Assert.Equal("HTTP/2", Assert.Single(server.Requests).Protocol);
    }

    [Fact]
    public async Task Server_with_TLS_that_wants_HTTP_1_for_the_request_gets_it_at_once_and_is_remembered()
    {
        await using var upstream = await BackendUnderTest.StartAsync(FakeLlmTransport.Http2Tls,
            options => options with { Http2Enabled = null, MaxRetries = 0 }, Http11Alone);
        for (var i = 0; i < 3; i++)
        {
            upstream.Sink = new RecordingSink();
            Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
        }

        Assert.Equal(["HTTP/2", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1"],
            upstream.Server.Requests.Select(request => request.Protocol));
    }

    [Fact]
    public async Task Server_that_wants_HTTP_1_is_an_error_that_names_the_option_if_HTTP_2_was_chosen()
    {
        await using var upstream = await BackendUnderTest.StartAsync(FakeLlmTransport.Http2Tls,
            options => options with { Http2Enabled = true }, Http11Alone);
        var result = await upstream.StreamAsync();
        Assert.Equal(UpstreamFault.Protocol, result.Fault);
        Assert.Contains("OPENAI_HTTP2_ENABLED=false", result.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Server_that_sends_settings_and_wants_HTTP_1_is_asked_again_without_a_retry()
    {
        // SETTINGS, then GOAWAY with HTTP_1_1_REQUIRED.
        await using var server = new Http1Server(
            "\0\0\0\u0004\0\0\0\0\0" + "\0\0\u0008\u0007\0\0\0\0\0\0\0\0\0\0\0\0\u000d");
        using var backend = BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ApiKey = "",
            ApiBase = new Uri($"http://127.0.0.1:{server.Port}/v1"),
            MaxRetries = 0,
        });
        var sink = new RecordingSink();
        Assert.Equal(StreamOutcome.Completed,
            (await backend.StreamAsync(BackendUnderTest.Prompt, sink, default).WithinLimit()).Outcome);
        Assert.Equal("Hi", sink.Whole);
    }

    [Fact]
    public async Task Address_that_refuses_is_an_upstream_that_cannot_be_reached()
    {
        var port = await UnusedPortAsync();
        using var backend = BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ApiKey = "",
            ApiBase = new Uri($"http://127.0.0.1:{port}/v1"),
        });
        var sink = new RecordingSink();
        var result = await backend.StreamAsync(BackendUnderTest.Prompt, sink, default).WithinLimit();
        Assert.Equal((UpstreamFault.Connect, 2), (result.Fault, sink.Retries.Count));
        Assert.StartsWith(
            "the upstream cannot be reached: Connection refused", result.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://localhost:11434/v1", true)]
    [InlineData("https://api.example/v1", false)]
    public void Key_is_needed_on_https_alone(string address, bool isEnough)
    {
        var problem = new OpenAIDescriptor().Validate(
            (object)new OpenAIOptions { ApiKey = "", ApiBase = new Uri(address) });
        Assert.Equal(isEnough ? null : "no API key. Set OPENAI_API_KEY or OPENAI_API_KEY_FILE", problem);
    }

    [Theory]
    [InlineData(null, "it does not have the model 'gpt-4o-mini', named by OPENAI_MODEL (openai.model)")]
    [InlineData("llama9", "it does not have the model 'llama9', named by the handoff")]
    public async Task Missing_model_is_named_in_the_reason_with_who_named_it(string? model, string reason)
    {
        foreach (var body in (string[])[
            """{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error"}}""",
            """{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}""",
            """{"error":{"type":"invalid_request_error","code":"model_not_found"}}"""])
        {
            await using var upstream = await BackendUnderTest.StartAsync(
                scenario: exchange => exchange.RespondAsync(404, "application/json", body));
            var result = await upstream.StreamAsync(BackendUnderTest.Prompt with { Model = model });
            Assert.Contains(reason, result.Reason, StringComparison.Ordinal);
            Assert.DoesNotContain("pulling", result.Reason, StringComparison.Ordinal);
            Assert.Single(upstream.Server.Requests);
        }
    }

    [Theory]
    [InlineData(404, "404 page not found")]
    [InlineData(400, """{"error":{"message":"temperature is not supported with this model"}}""")]
    [InlineData(429, """{"error":{"message":"the queue of the model does not exist"}}""")]
    public async Task Other_errors_do_not_blame_the_model(int status, string body)
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            scenario: exchange => exchange.RespondAsync(status, "application/json", body));
        var result = await upstream.StreamAsync();
        Assert.DoesNotContain("model", result.Reason, StringComparison.Ordinal);
    }

    private static async Task<int> UnusedPortAsync()
    {
        await using var server = new BrokenServer(BrokenServerKind.HangsUp);
        return server.BaseAddress().Port;
    }

    private static async Task Http11Alone(FakeLlmExchange exchange)
    {
        if (exchange.Request.Protocol == "HTTP/2")
        {
            exchange.ResetStream(0xd);
            return;
        }

        await exchange.StartAsync();
        await exchange.SendDeltaAsync("Hi");
        await exchange.SendDoneAsync();
    }

    /// <summary>HTTP/1.1 with one answer; tells the preface of HTTP/2 what it is told to, then hangs up;
    /// null: hangs, and says nothing. Answers requests with the second answer if there is one.</summary>
    private sealed class Http1Server : IAsyncDisposable
    {
        private const string Whole =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            + "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n";

        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly CancellationTokenSource _stop = new();
        private readonly string? _answer;
        private readonly string _answerToRequest;
        private readonly Task _accepting;

        public Http1Server(string? answer, string? answerToRequest = null)
        {
            _answer = answer;
            _answerToRequest = answerToRequest ?? Whole;
            _listener.Start();
            _accepting = AcceptAsync();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;
        public int Prefaces { get; private set; }
        public List<string> Heads { get; } = [];
        public Action? OnHead { get; set; }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _listener.Dispose();
            await _accepting;
            _stop.Dispose();
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                {
                    using var socket = await _listener.AcceptSocketAsync(_stop.Token);
                    await ServeToItsEndAsync(socket);
                }
            }
            catch (Exception e) when (e is OperationCanceledException or InvalidOperationException or SocketException)
            {
                // It stops.
            }
        }

        private async Task ServeToItsEndAsync(Socket socket)
        {
            try
            {
                using var stream = new NetworkStream(socket);
                await ServeAsync(stream);
                socket.Shutdown(SocketShutdown.Send);
                while (await stream.ReadAsync(new byte[4096], _stop.Token) > 0)
                {
                }
            }
            catch (Exception e) when (e is IOException or SocketException)
            {
                // This client has left; the next one is served.
            }
        }

        private async Task ServeAsync(NetworkStream stream)
        {
            var buffer = new byte[4096];
            var head = Encoding.ASCII.GetString(buffer, 0, await stream.ReadAsync(buffer, _stop.Token));
            if (head.StartsWith("PRI ", StringComparison.Ordinal))
            {
                Prefaces++;
                if (_answer is null)
                {
                    while (await stream.ReadAsync(buffer, _stop.Token) > 0)
                    {
                    }
                }

                await stream.WriteAsync(Encoding.ASCII.GetBytes(_answer ?? ""), _stop.Token);
                return;
            }

            Heads.Add(head);
            OnHead?.Invoke();
            await stream.WriteAsync(Encoding.ASCII.GetBytes(_answerToRequest), _stop.Token);
        }
    }
}
