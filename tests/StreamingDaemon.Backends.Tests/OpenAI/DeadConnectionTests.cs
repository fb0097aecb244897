using System.Diagnostics;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>An HTTP/2 connection that dies without a FIN.</summary>
public sealed class DeadConnectionTests
{
    /// <summary>5 s, and what a loaded machine adds.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(8);

    /// <summary>The head wait is over long before the connection is known to be dead.</summary>
    private static StreamRequest Prompt =>
        BackendUnderTest.Prompt with { RetryWindow = TimeSpan.FromSeconds(1) };

    [Trait("Takes", "Long")]
    [Theory]
    [InlineData(FakeLlmTransport.H2c)]
    [InlineData(FakeLlmTransport.Http2Tls)]
    public async Task Streams_that_wait_on_a_dead_connection_are_served_over_a_new_one(FakeLlmTransport transport)
    {
        await using var server = await FakeLlmServer.StartAsync(transport);
        await using var relay = new SilentRelay(server.BaseAddress.Port);
        using var backend = Through(relay, server);
        Assert.Equal(StreamOutcome.Completed, (await StreamAsync(backend)).Outcome);
        await relay.FallSilentAsync();

        var start = Stopwatch.GetTimestamp();
        var streams = new List<Task<BackendResult>>();
        for (var i = 0; i < 3; i++)
        {
            streams.Add(StreamAsync(backend));
            await Task.Delay(TimeSpan.FromSeconds(1));
        }

        foreach (var result in await Task.WhenAll(streams).WithinLimit())
            Assert.Equal(StreamOutcome.Completed, result.Outcome);
        Assert.InRange(Stopwatch.GetElapsedTime(start), TimeSpan.Zero, s_limit);
        Assert.Equal(2, server.Requests.DistinctBy(request => request.ConnectionId).Count());
        Assert.Equal(StreamOutcome.Completed, (await StreamAsync(backend)).Outcome);
        // With TLS, one more may stand ready.
        Assert.InRange(relay.Connections, 2, 3);
    }

    private static OpenAIBackend Through(SilentRelay relay, FakeLlmServer server) =>
        BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ApiKey = BackendUnderTest.ApiKey,
            ApiBase = new UriBuilder(server.BaseAddress) { Port = relay.Port }.Uri,
            Http2Enabled = true,
            InsecureSsl = true,
        });

    private static Task<BackendResult> StreamAsync(OpenAIBackend backend) =>
        backend.StreamAsync(Prompt, new RecordingSink(), default).WithinLimit();
}
