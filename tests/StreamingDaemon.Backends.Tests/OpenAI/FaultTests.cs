using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>Every fault of an upstream has one known end, whatever HTTP version it speaks.</summary>
public sealed class FaultTests
{
    private const int Attempts = 3; // The first and two retries.

    private static readonly FakeLlmTransport[] s_transports = [FakeLlmTransport.Http1, FakeLlmTransport.H2c];

    /// <summary>Faults of a stream that has begun: never retried, and the text before them arrives.</summary>
    public static TheoryData<string, FakeLlmTransport, UpstreamFault, string> StreamFaults { get; } = Cross(
        ("reset_before_events", UpstreamFault.BrokenOff, ""),
        ("reset_inside_event", UpstreamFault.BrokenOff, FakeLlmFaults.Begun),
        ("reset_between_events", UpstreamFault.BrokenOff, FakeLlmFaults.Begun),
        ("lost_connection", UpstreamFault.BrokenOff, FakeLlmFaults.Begun),
        ("truncated", UpstreamFault.Truncated, FakeLlmFaults.Begun),
        ("truncated_inside_event", UpstreamFault.Truncated, FakeLlmFaults.Begun),
        ("empty_stream", UpstreamFault.EmptyAnswer, ""),
        ("malformed_chunk", UpstreamFault.Malformed, FakeLlmFaults.Begun),
        ("line_of_64_mb", UpstreamFault.TooLong, FakeLlmFaults.Begun),
        ("error_event", UpstreamFault.ErrorEvent, FakeLlmFaults.Begun),
        ("error_event_first", UpstreamFault.ErrorEvent, ""));

    /// <summary>Answers that are not a stream.</summary>
    public static TheoryData<string, FakeLlmTransport, UpstreamFault, int> Refusals
    {
        get
        {
            var data = new TheoryData<string, FakeLlmTransport, UpstreamFault, int>();
            foreach (var transport in s_transports)
            {
                data.Add("redirect", transport, UpstreamFault.Redirect, 307);
                data.Add("json_instead_of_events", transport, UpstreamFault.NotAStream, 200);
                data.Add("html_instead_of_events", transport, UpstreamFault.NotAStream, 200);
                data.Add("no_content_type", transport, UpstreamFault.NotAStream, 200);
                data.Add("secret_content_type", transport, UpstreamFault.NotAStream, 200);
                foreach (var status in (int[])[400, 401, 403, 404, 429, 500, 502, 503, 529])
                {
                    var fault = status switch
                    {
                        401 or 403 => UpstreamFault.Unauthorized,
                        429 => UpstreamFault.RateLimited,
                        >= 500 => UpstreamFault.ServerError,
                        _ => UpstreamFault.ClientError,
                    };
                    foreach (var body in (string[])["json", "html", "empty", "endless"])
                        data.Add($"status_{status}_{body}", transport, fault, status);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(StreamFaults))]
    public async Task Stream_that_goes_wrong_keeps_its_text_and_is_never_asked_for_again(
        string name, FakeLlmTransport transport, UpstreamFault fault, string text)
    {
        await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: FakeLlmFaults.Named(name));
        var streaming = upstream.StreamAsync();
        var request = await upstream.Server.NextRequestAsync(TestLimits.Wait);
        await (text.Length > 0 ? upstream.Sink.FirstDelta : Task.WhenAny(upstream.Sink.FirstActivity, streaming))
            .WithinLimit();
        request.Proceed();

        var result = await streaming;

        var outcome = fault == UpstreamFault.Truncated
            ? StreamOutcome.UpstreamTruncated
            : StreamOutcome.UpstreamError;
        Assert.Equal((outcome, fault, 200), (result.Outcome, result.Fault, result.UpstreamStatus));
        Assert.Equal(text, upstream.Sink.Whole);
        Assert.Single(upstream.Server.Requests);
        AssertOwnWords(result);
        await request.Ended.WithinLimit();
    }

    [Theory]
    [MemberData(nameof(Refusals))]
    public async Task Refusal_is_an_error_of_its_kind_and_retried_only_where_it_may_pass(
        string name, FakeLlmTransport transport, UpstreamFault fault, int status)
    {
        await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: FakeLlmFaults.Named(name));

        var result = await upstream.StreamAsync();

        Assert.Equal(
            (StreamOutcome.UpstreamError, fault, status), (result.Outcome, result.Fault, result.UpstreamStatus));
        Assert.Equal(0, upstream.Sink.Started);
        var attempts = fault is UpstreamFault.RateLimited or UpstreamFault.ServerError ? Attempts : 1;
        Assert.Equal(Enumerable.Repeat(fault, attempts - 1), upstream.Sink.Retries);
        Assert.Equal(attempts, upstream.Server.Requests.Count);
        AssertOwnWords(result);
        foreach (var request in upstream.Server.Requests)
            await request.Ended.WithinLimit();
    }

    [Theory]
    [InlineData("finish_length")]
    [InlineData("finish_content_filter")]
    [InlineData("finish_without_done")]
    public async Task Answer_that_the_model_ended_is_whole_whatever_its_reason(string name)
    {
        foreach (var transport in s_transports)
        {
            await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: FakeLlmFaults.Named(name));
            Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
            Assert.Equal(FakeLlmFaults.Begun, upstream.Sink.Whole);
        }
    }

    [Theory]
    [InlineData(BrokenServerKind.HangsUp, false, UpstreamFault.Reset, "ResponseEnded")]
    [InlineData(BrokenServerKind.Resets, false, UpstreamFault.Reset, "Connection reset by peer")]
    [InlineData(BrokenServerKind.GoesAway, true, UpstreamFault.Reset, "NO_ERROR")]
    [InlineData(BrokenServerKind.RefusesStreams, true, UpstreamFault.Reset, "REFUSED_STREAM")]
    [InlineData(BrokenServerKind.Http1BadRequest, true, UpstreamFault.Protocol, "set OPENAI_HTTP2_ENABLED=false")]
    [InlineData(BrokenServerKind.HangsUp, true, UpstreamFault.Protocol, "set OPENAI_HTTP2_ENABLED=false")]
    [InlineData(BrokenServerKind.Garbage, true, UpstreamFault.Protocol, "set OPENAI_HTTP2_ENABLED=false")]
    [InlineData(BrokenServerKind.WantsHttp1, true, UpstreamFault.Protocol, "set OPENAI_HTTP2_ENABLED=false")]
    [InlineData(BrokenServerKind.Garbage, false, UpstreamFault.Protocol, "set OPENAI_HTTP2_ENABLED=true")]
    public async Task Connection_that_brings_no_answer_is_retried_where_both_speak_the_same_HTTP(
        BrokenServerKind kind, bool http2, UpstreamFault fault, string reason)
    {
        await using var server = new BrokenServer(kind);
        var sink = new RecordingSink();

        var result = await StreamAsync(server.BaseAddress(), sink, o => o with { Http2Enabled = http2 });

        Assert.Equal(
            (StreamOutcome.UpstreamError, fault, null), (result.Outcome, result.Fault, result.UpstreamStatus));
        Assert.Contains(reason, result.Reason, StringComparison.Ordinal);
        var retries = fault == UpstreamFault.Reset ? Attempts - 1 : 0;
        Assert.Equal(Enumerable.Repeat(fault, retries), sink.Retries);
        // The HTTP client itself retries if the server says that it took nothing.
        var isSaid = kind is BrokenServerKind.GoesAway or BrokenServerKind.RefusesStreams;
        Assert.InRange(server.Attempts, 1 + retries, isSaid ? 4 * Attempts : 1 + retries);
        AssertOwnWords(result);
    }

    [Fact]
    public async Task Reset_in_the_handshake_names_the_mend_whether_it_is_seen_as_that_or_as_a_lost_answer()
    {
        await using var server = new BrokenServer(BrokenServerKind.Resets);
        var result = await StreamAsync(
            server.BaseAddress(), new RecordingSink(), o => o with { Http2Enabled = true });
        Assert.True(result.Fault is UpstreamFault.Protocol or UpstreamFault.Reset, $"{result.Fault}");
        Assert.Contains("set OPENAI_HTTP2_ENABLED=false", result.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(UnreachableOnes))]
    public async Task Upstream_that_cannot_be_reached_is_retried(
        string address, string? socket, UpstreamFault fault, string reason)
    {
        foreach (var http2 in (bool[])[false, true])
        {
            var sink = new RecordingSink();
            var result = await StreamAsync(
                new Uri(address), sink, o => o with { ApiSocket = socket, Http2Enabled = http2 });
            Assert.Equal(
                (StreamOutcome.UpstreamError, fault, null), (result.Outcome, result.Fault, result.UpstreamStatus));
            Assert.StartsWith(reason, result.Reason, StringComparison.Ordinal);
            Assert.EndsWith(", after 2 of 2 retries", result.Reason, StringComparison.Ordinal);
            Assert.Equal([fault, fault], sink.Retries);
        }
    }

    public static TheoryData<string, string?, UpstreamFault, string> UnreachableOnes { get; } = new(
        ($"http://127.0.0.1:{ClosedPort()}/v1", null, UpstreamFault.Connect,
            "the upstream cannot be reached: Connection refused"),
        ($"https://127.0.0.1:{ClosedPort()}/v1", null, UpstreamFault.Connect,
            "the upstream cannot be reached: Connection refused"),
        ("http://localhost/v1", "/nonexistent/llm.sock", UpstreamFault.Connect, "the upstream cannot be reached: "),
        ("http://llm.invalid/v1", null, UpstreamFault.Dns, "the upstream's name cannot be resolved: "));

    [Theory]
    [InlineData(FakeLlmTransport.Http1Tls)]
    [InlineData(FakeLlmTransport.Http2Tls)]
    public async Task Certificate_that_is_not_trusted_is_a_failure_and_never_retried(FakeLlmTransport transport)
    {
        await using var upstream = await BackendUnderTest.StartAsync(transport, o => o with { InsecureSsl = false });
        var result = await upstream.StreamAsync();
        Assert.Equal((StreamOutcome.UpstreamError, UpstreamFault.Tls), (result.Outcome, result.Fault));
        Assert.Contains("certificate", result.Reason, StringComparison.Ordinal);
        Assert.Empty(upstream.Sink.Retries);
        Assert.Empty(upstream.Server.Requests);
    }

    [Theory]
    [InlineData(BrokenServerKind.Garbage)]
    [InlineData(BrokenServerKind.HangsUp)]
    public async Task Server_without_TLS_behind_an_https_address_is_a_failure(BrokenServerKind kind)
    {
        await using var server = new BrokenServer(kind);
        var result = await StreamAsync(server.BaseAddress("https"), new RecordingSink());
        Assert.Equal((StreamOutcome.UpstreamError, UpstreamFault.Tls), (result.Outcome, result.Fault));
        AssertOwnWords(result);
    }

    [Fact]
    public async Task Upstream_that_accepts_but_never_speaks_TLS_is_a_timeout()
    {
        await using var server = new BrokenServer(BrokenServerKind.Mute);
        var result = await StreamAsync(server.BaseAddress("https"), new RecordingSink(),
            o => o with { ConnectTimeoutMs = 200, MaxRetries = 1 });
        Assert.Equal(
            (StreamOutcome.UpstreamTimeout, UpstreamFault.ConnectTimeout), (result.Outcome, result.Fault));
        Assert.StartsWith("no connection to the upstream within 200 ms", result.Reason, StringComparison.Ordinal);
        Assert.Equal(2, server.Attempts);
    }

    [Theory]
    [InlineData(0x2, "INTERNAL_ERROR")]
    [InlineData(0x8, "CANCEL")]
    [InlineData(0xb, "ENHANCE_YOUR_CALM")]
    public async Task Stream_reset_by_HTTP_2_is_named_by_its_code_before_the_head_and_after(int code, string name)
    {
        foreach (var isStarted in (bool[])[false, true])
        {
            await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
            {
                if (isStarted)
                    await exchange.StartAsync();
                if (isStarted)
                    await exchange.SendDeltaAsync("x");
                if (isStarted)
                    await exchange.Proceed;
                exchange.ResetStream(code);
            });
            upstream.Sink = new RecordingSink
            {
                OnWrite = _ =>
                {
                    upstream.Server.Requests.Single().Proceed();
                    return default;
                },
            };
            var result = await upstream.StreamAsync();
            Assert.Equal(isStarted ? UpstreamFault.BrokenOff : UpstreamFault.Reset, result.Fault);
            Assert.Contains("HTTP/2 error " + name, result.Reason, StringComparison.Ordinal);
            Assert.Equal(isStarted ? 1 : Attempts, upstream.Server.Requests.Count);
        }
    }

    [Fact]
    public async Task Connection_that_goes_away_with_an_error_breaks_the_stream_that_has_begun()
    {
        await using var server = new BrokenServer(BrokenServerKind.GoesAwayMidStream);
        var sink = new RecordingSink();
        var streaming = StreamAsync(server.BaseAddress(), sink);
        await Eventually.TrueAsync(() => sink.Started == 1);
        server.Proceed();
        var result = await streaming;
        Assert.Equal((StreamOutcome.UpstreamError, UpstreamFault.BrokenOff), (result.Outcome, result.Fault));
        Assert.Contains("HTTP/2 error INTERNAL_ERROR", result.Reason, StringComparison.Ordinal);
        Assert.Equal((1, 1), (server.Attempts, sink.Started));
    }

    [Fact]
    public async Task Connection_that_goes_away_in_peace_lets_its_stream_end_whole_and_the_next_gets_another()
    {
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("x");
            exchange.GoAway();
            await exchange.Proceed;
            await exchange.SendDoneAsync();
        });
        for (var stream = 0; stream < 2; stream++)
        {
            upstream.Sink = new RecordingSink();
            var streaming = upstream.StreamAsync();
            var request = await upstream.Server.NextRequestAsync(TestLimits.Wait);
            await upstream.Sink.FirstDelta.WithinLimit();
            request.Proceed();
            Assert.Equal(StreamOutcome.Completed, (await streaming).Outcome);
        }

        Assert.Equal(2, upstream.Server.Requests.DistinctBy(request => request.ConnectionId).Count());
    }

    [Fact]
    public async Task Lost_connection_ends_each_of_its_100_streams_and_the_next_one_gets_another()
    {
        const int Streams = 100;
        var everybodyHasBegun = new TaskCompletionSource();
        var begun = 0;
        await using var upstream = await BackendUnderTest.StartAsync(scenario: FakeLlmFaults.Named("lost_connection"));
        var streams = Enumerable.Range(0, Streams).Select(async _ =>
        {
            var sink = new RecordingSink
            {
                OnWrite = _ =>
                {
                    if (Interlocked.Increment(ref begun) == Streams)
                        everybodyHasBegun.SetResult();
                    return default;
                },
            };
            return (await upstream.Backend.StreamAsync(BackendUnderTest.Prompt, sink, default), sink);
        }).ToArray();
        await everybodyHasBegun.Task.WithinLimit();
        foreach (var connection in upstream.Server.Requests.DistinctBy(request => request.ConnectionId))
            connection.Proceed();

        foreach (var (result, sink) in await Task.WhenAll(streams).WithinLimit())
        {
            Assert.Equal(
                (StreamOutcome.UpstreamError, UpstreamFault.BrokenOff), (result.Outcome, result.Fault));
            Assert.Equal(FakeLlmFaults.Begun, sink.Whole);
        }

        Assert.Equal(Streams, upstream.Server.Requests.Count);
        upstream.Server.Scenario = FakeLlmScenarios.RunAsync;
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
    }

    [Fact]
    public async Task Flood_of_empty_frames_ends_the_connection_and_is_an_error()
    {
        await using var server = new BrokenServer(BrokenServerKind.FloodsEmptyFrames);

        var result = await StreamAsync(server.BaseAddress(), new RecordingSink());

        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        // The response's head and the flood may come in one read, and fail together.
        Assert.Contains(result.Fault, new UpstreamFault?[] { UpstreamFault.BrokenOff, UpstreamFault.Reset });
        Assert.Contains("empty DATA frames", result.Reason, StringComparison.Ordinal);
    }

    private static void AssertOwnWords(BackendResult result)
    {
        Assert.False(string.IsNullOrEmpty(result.Reason));
        foreach (var word in FakeLlmFaults.Secret.Split(' ')[1..])
            Assert.DoesNotContain(word, result.Reason, StringComparison.Ordinal);
    }

    private static async Task<BackendResult> StreamAsync(
        Uri address, RecordingSink sink, Func<OpenAIOptions, OpenAIOptions>? configure = null)
    {
        var options = new OpenAIOptions { ApiKey = BackendUnderTest.ApiKey, ApiBase = address };
        using var backend = BackendUnderTest.WithoutBackoff(configure?.Invoke(options) ?? options);
        return await backend.StreamAsync(BackendUnderTest.Prompt, sink, default).WithinLimit();
    }

    private static int ClosedPort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    private static TheoryData<string, FakeLlmTransport, UpstreamFault, string> Cross(
        params (string Name, UpstreamFault Fault, string Text)[] rows)
    {
        var data = new TheoryData<string, FakeLlmTransport, UpstreamFault, string>();
        foreach (var transport in s_transports)
        {
            foreach (var (name, fault, text) in rows)
                data.Add(name, transport, fault, text);
        }

        return data;
    }
}
