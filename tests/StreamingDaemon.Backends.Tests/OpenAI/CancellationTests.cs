using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class CancellationTests
{
    public static TheoryData<FakeLlmTransport> Transports { get; } = new(
        FakeLlmTransport.Http1, FakeLlmTransport.H2c, FakeLlmTransport.Http1Tls, FakeLlmTransport.Http2Tls,
        FakeLlmTransport.UnixHttp1, FakeLlmTransport.UnixH2c);

    [Theory]
    [MemberData(nameof(Transports))]
    public async Task Client_that_disconnects_cancels_the_silent_upstream_call(FakeLlmTransport transport)
    {
        await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("x");
            await exchange.WaitForAbortAsync(TestLimits.Wait);
        });
        using var client = new CancellationTokenSource();
        var streaming = upstream.StreamAsync(client.Token);
        await upstream.Sink.FirstDelta.WithinLimit();

        await client.CancelAsync();

        var thrown = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => streaming);
        Assert.Equal(client.Token, thrown.CancellationToken);
        await (await upstream.Server.NextRequestAsync(TestLimits.Wait)).Aborted.WithinLimit();
    }

    /// <summary>The HTTP client throws a NullReferenceException if a response with a Content-Length is disposed
    /// while it is copied.</summary>
    [Fact]
    public async Task Client_that_disconnects_within_a_write_is_no_fault_of_the_daemon()
    {
        const string chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
        using var client = new CancellationTokenSource();
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        server.Scenario = exchange =>
        {
            exchange.Context.Response.ContentLength = chunk.Length;
            return exchange.RespondAsync(200, "text/event-stream", chunk);
        };
        using var backend = new OpenAIBackend(
            new OpenAIOptions { ApiKey = BackendUnderTest.ApiKey, ApiBase = server.BaseAddress },
            new RetryPolicy(0), new BackendContext { WriteBatch = new BatchAtWhoseEndTheClientLeaves(client) });

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), client.Token).WithinLimit());
    }

    [Theory]
    [MemberData(nameof(Transports))]
    public async Task Client_that_disconnects_before_the_head_cancels_the_upstream_call(
        FakeLlmTransport transport)
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            transport, scenario: exchange => exchange.WaitForAbortAsync(TestLimits.Wait));
        using var client = new CancellationTokenSource();
        var streaming = upstream.StreamAsync(client.Token);
        var request = await upstream.Server.NextRequestAsync(TestLimits.Wait);

        await client.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => streaming);
        await request.Aborted.WithinLimit();
        Assert.Equal(0, upstream.Sink.Started);
    }

    [Theory]
    [MemberData(nameof(Transports))]
    public async Task Upstream_is_cancelled_even_while_the_sink_ignores_the_token(FakeLlmTransport transport)
    {
        using var client = new CancellationTokenSource();
        var sentToNobody = 0;
        await using var upstream = await BackendUnderTest.StartAsync(transport, scenario: async exchange =>
        {
            await exchange.StartAsync();
            // Chatty: an HTTP client that drains the response instead of hanging up reads for 2 s.
            while (!exchange.Context.RequestAborted.IsCancellationRequested)
            {
                await exchange.SendDeltaAsync("x");
                if (client.IsCancellationRequested)
                    sentToNobody++;
                await Task.Delay(5);
            }
        });
        var gate = new TaskCompletionSource();
        upstream.Sink = new RecordingSink { OnWrite = _ => new ValueTask(gate.Task) };
        var streaming = upstream.StreamAsync(client.Token);
        await upstream.Sink.FirstDelta.WithinLimit();

        await client.CancelAsync();

        await (await upstream.Server.NextRequestAsync(TestLimits.Wait)).Aborted.WithinLimit();
        Assert.InRange(sentToNobody, 0, 100);
        Assert.False(streaming.IsCompleted);
        gate.SetResult();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => streaming);
        Assert.Single(upstream.Sink.Texts);
    }

    [Fact]
    public async Task Token_that_has_fired_sends_nothing()
    {
        await using var upstream = await BackendUnderTest.StartAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => upstream.StreamAsync(new CancellationToken(canceled: true)));
        Assert.Empty(upstream.Server.Requests);
    }

    [Fact]
    public async Task Cancelling_one_stream_leaves_the_others_of_its_connection_alone()
    {
        var release = new TaskCompletionSource();
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("x");
            await release.Task;
            await exchange.SendDoneAsync();
        });
        using var client = new CancellationTokenSource();
        var cancelled = upstream.StreamAsync(client.Token);
        await upstream.Sink.FirstDelta.WithinLimit();
        var sink = new RecordingSink();
        var other = upstream.Backend.StreamAsync(BackendUnderTest.Prompt, sink, default);
        await sink.FirstDelta.WithinLimit();
        Assert.Single(upstream.Server.Requests.Select(request => request.ConnectionId).Distinct());

        await client.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        release.SetResult();

        Assert.Equal(StreamOutcome.Completed, (await other.WithinLimit()).Outcome);
    }

    [Fact]
    public async Task Cancelling_at_any_moment_ends_in_a_whole_answer_or_a_cancellation()
    {
        await using var upstream = await BackendUnderTest.StartAsync();
        upstream.Server.ChunkDelayMs = 1;
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 200).Select(async index =>
        {
            using var client = new CancellationTokenSource(index % 40);
            try
            {
                var result = await upstream.Backend.StreamAsync(
                    BackendUnderTest.Prompt, new RecordingSink(), client.Token);
                return result.Outcome;
            }
            catch (OperationCanceledException)
            {
                return StreamOutcome.ClientGone;
            }
        })).WithinLimit();

        Assert.All(outcomes, outcome =>
            Assert.True(outcome is StreamOutcome.Completed or StreamOutcome.ClientGone, outcome.ToString()));
        Assert.Contains(StreamOutcome.ClientGone, outcomes);
        upstream.Sink = new RecordingSink();
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
    }

    private sealed class BatchAtWhoseEndTheClientLeaves(CancellationTokenSource client) : IWriteBatch
    {
        public void BeginBatch()
        {
        }

        public void EndBatch() => client.Cancel();

        public void EndBatchLater() => client.Cancel();
    }
}
