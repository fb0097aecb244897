using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class TransportTests
{
    [Theory]
    [InlineData(FakeLlmTransport.Http1, false, "HTTP/1.1")]
    [InlineData(FakeLlmTransport.H2c, true, "HTTP/2")]
    [InlineData(FakeLlmTransport.Http2Tls, true, "HTTP/2")]
    [InlineData(FakeLlmTransport.Http2Tls, false, "HTTP/1.1")]
    [InlineData(FakeLlmTransport.Http1Tls, true, "HTTP/1.1")] // ALPN falls back.
    [InlineData(FakeLlmTransport.UnixHttp1, false, "HTTP/1.1")]
    [InlineData(FakeLlmTransport.UnixH2c, true, "HTTP/2")]
    [InlineData(FakeLlmTransport.UnixTls, true, "HTTP/2")]
    [InlineData(FakeLlmTransport.UnixTls, false, "HTTP/1.1")]
    public async Task Every_transport_streams_the_18_deltas(
        FakeLlmTransport transport, bool http2, string protocol)
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            transport, options => options with { Http2Enabled = http2 });

        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);

        Assert.Equal(FakeLlmScenarios.Words, upstream.Sink.Texts);
        Assert.Equal((1, false), (upstream.Sink.Started, upstream.Sink.DeltaBeforeStart));
        Assert.Equal(protocol, Assert.Single(upstream.Server.Requests).Protocol);
    }

    [Fact]
    public async Task Default_answer_makes_the_503_bytes_of_events_that_load_generators_expect()
    {
        await using var upstream = await BackendUnderTest.StartAsync();
        await upstream.StreamAsync();
        var bytes = upstream.Sink.Texts.Sum(
            text => Encoding.UTF8.GetByteCount("data: {\"content\":\"" + text + "\"}\n\n"));
        Assert.Equal(FakeLlmScenarios.EventBytes, bytes);
        Assert.Equal(503, bytes);
    }

    [Theory]
    [InlineData("unicode", 35)]
    [InlineData("short", 49)]
    [InlineData("long", 3)]
    [InlineData("unknown", 18)]
    public async Task Test_patterns_pass_through_unchanged(string pattern, int count)
    {
        await using var upstream = await BackendUnderTest.StartAsync();
        var result = await upstream.StreamAsync(BackendUnderTest.Prompt with { TestPattern = pattern });
        Assert.Equal(StreamOutcome.Completed, result.Outcome);
        Assert.Equal(count, upstream.Sink.Texts.Count);
        Assert.Equal(FakeLlmScenarios.TextsOf(pattern), upstream.Sink.Texts);
    }

    [Theory]
    [InlineData("abort:3", 3, StreamOutcome.UpstreamTruncated)]
    [InlineData("abort:x", 5, StreamOutcome.UpstreamTruncated)]
    [InlineData("finish:length", 6, StreamOutcome.Completed)]
    public async Task Test_patterns_decide_the_end(string pattern, int count, StreamOutcome outcome)
    {
        await using var upstream = await BackendUnderTest.StartAsync();
        var result = await upstream.StreamAsync(BackendUnderTest.Prompt with { TestPattern = pattern });
        Assert.Equal((outcome, count), (result.Outcome, upstream.Sink.Texts.Count));
    }

    [Fact]
    public async Task Certificate_nobody_vouches_for_is_refused_by_default()
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            FakeLlmTransport.Http2Tls, options => options with { InsecureSsl = false });
        var result = await upstream.StreamAsync();
        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        Assert.Contains("TLS", result.Reason, StringComparison.Ordinal);
        Assert.Empty(upstream.Server.Requests);
    }

    [Theory]
    [InlineData("nothing", "does not exist")]
    [InlineData("nothing/below", "does not exist")]
    [InlineData("file", "nobody listens there, or it is no socket")]
    [InlineData("directory", "is a directory and no socket")]
    [InlineData("deaf", "nobody listens there, or it is no socket")]
    [InlineData("datagram", "is not a stream socket")]
    public async Task Api_socket_that_leads_nowhere_is_named_with_what_is_wrong_with_it(string what, string problem)
    {
        using var directory = new TempDirectory();
        var path = directory.File(what);
        using var socket = new Socket(AddressFamily.Unix, what == "datagram" ? SocketType.Dgram : SocketType.Stream,
            ProtocolType.Unspecified);
        if (what == "file")
            await File.WriteAllTextAsync(path, "");
        else if (what == "directory")
            Directory.CreateDirectory(path);
        else if (!what.StartsWith("nothing", StringComparison.Ordinal))
            socket.Bind(new UnixDomainSocketEndPoint(path));
        await using var upstream = await BackendUnderTest.StartAsync(
            configure: options => options with { ApiSocket = path, MaxRetries = 0 });

        var result = await upstream.StreamAsync();

        Assert.Equal((StreamOutcome.UpstreamError, UpstreamFault.Connect), (result.Outcome, result.Fault));
        Assert.Equal($"the upstream cannot be reached: {path}: {problem}", result.Reason);
        Assert.Equal($"{path}: {problem}", UpstreamSocket.Check(path));
    }

    [Theory]
    [InlineData(FakeLlmTransport.Http1)]
    [InlineData(FakeLlmTransport.H2c)]
    public async Task Connection_is_used_again_although_DONE_comes_before_the_end_of_the_body(
        FakeLlmTransport transport)
    {
        var release = new TaskCompletionSource();
        await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("x");
            await exchange.SendDoneAsync();
            if (exchange.Request.Body.Contains("first", StringComparison.Ordinal))
                await release.Task;
        });
        await upstream.StreamAsync(BackendUnderTest.Prompt with { Prompt = "first" });
        var first = await upstream.Server.NextRequestAsync(TestLimits.Wait);
        // A reset of the first stream would come before this one on their HTTP/2 connection.
        await upstream.StreamAsync();
        await upstream.Server.NextRequestAsync(TestLimits.Wait);
        Assert.False(first.Aborted.IsCompleted);
        release.SetResult();
        await first.Ended.WithinLimit();

        // On HTTP/1.1 a connection returns to the pool once the drain has seen the end: a moment later.
        var seen = new HashSet<string> { first.ConnectionId };
        for (var attempt = 0; attempt < 50; attempt++)
        {
            await upstream.StreamAsync();
            if (!seen.Add((await upstream.Server.NextRequestAsync(TestLimits.Wait)).ConnectionId))
                break;
        }

        Assert.InRange(seen.Count, 1, 49);
    }

    [Fact]
    public async Task Three_hundred_streams_share_a_few_connections()
    {
        var everybodyIsHere = new TaskCompletionSource();
        var arrived = 0;
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            if (Interlocked.Increment(ref arrived) == 300)
                everybodyIsHere.SetResult();
            await everybodyIsHere.Task;
            await FakeLlmScenarios.RunAsync(exchange);
        });
        var results = await Task.WhenAll(Enumerable.Range(0, 300).Select(async _ =>
        {
            var sink = new RecordingSink();
            var result = await upstream.Backend.StreamAsync(BackendUnderTest.Prompt, sink, default);
            return (result.Outcome, sink.Texts.Count);
        })).WithinLimit();

        Assert.All(results, result => Assert.Equal((StreamOutcome.Completed, 18), result));
        Assert.InRange(upstream.Server.Requests.DistinctBy(request => request.ConnectionId).Count(), 3, 30);
    }

    /// <summary>A server refuses the streams above its limit; a client that knows the limit sends none.</summary>
    [Theory]
    [InlineData(FakeLlmTransport.H2c)]
    [InlineData(FakeLlmTransport.Http2Tls)]
    public async Task Burst_far_above_the_limit_of_streams_is_served_without_a_retry(FakeLlmTransport transport)
    {
        const int Streams = 60;
        var everybodyIsHere = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var arrived = 0;
        await using var upstream = await BackendUnderTest.StartAsync(
            transport, options => options with { MaxRetries = 0 }, streamsPerConnection: 2, scenario: async exchange =>
            {
                if (Interlocked.Increment(ref arrived) == Streams)
                    everybodyIsHere.TrySetResult();
                await everybodyIsHere.Task;
                await FakeLlmScenarios.RunAsync(exchange);
            });
        var streams = Enumerable.Range(0, Streams)
            .Select(_ => upstream.Backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default)).ToArray();

        await Task.WhenAny(everybodyIsHere.Task, Task.WhenAny(streams)).WithinLimit();
        everybodyIsHere.TrySetResult();

        var results = await Task.WhenAll(streams).WithinLimit();
        Assert.All(results, result => Assert.Equal((StreamOutcome.Completed, null), (result.Outcome, result.Reason)));
    }
}
