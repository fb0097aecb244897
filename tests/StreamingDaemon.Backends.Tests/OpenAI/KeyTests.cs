using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>Keys that change while the backend runs.</summary>
public sealed class KeyTests
{
    private const string New = "sk-new-9876543210";

    [Fact]
    public async Task Refused_key_is_read_again_and_the_request_is_sent_once_more_with_the_new_one()
    {
        await using var server = await ServerThatTakesAsync(New);
        using var backend = BackendOf(server, _ => New);
        var sink = new RecordingSink();

        var result = await backend.StreamAsync(BackendUnderTest.Prompt, sink, default).WithinLimit();

        Assert.Equal(StreamOutcome.Completed, result.Outcome);
        Assert.Equal([BackendUnderTest.ApiKey, New], KeysSeen(server));
        // Another stream needs no second refusal.
        Assert.Equal(StreamOutcome.Completed,
            (await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit()).Outcome);
        Assert.Equal(3, server.Requests.Count);
    }

    [Theory]
    [InlineData(BackendUnderTest.ApiKey, 1)]
    [InlineData(null, 1)]
    [InlineData("sk-wrong-too", 2)]
    public async Task Key_that_is_the_same_is_not_sent_again_and_another_wrong_one_once(string? inFile, int attempts)
    {
        await using var server = await ServerThatTakesAsync(New);
        using var backend = BackendOf(server, _ => inFile);

        var result = await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();

        Assert.Equal((UpstreamFault.Unauthorized, (int?)401), (result.Fault, result.UpstreamStatus));
        Assert.Equal(attempts, server.Requests.Count);
    }

    [Fact]
    public async Task File_that_does_not_answer_is_read_once_and_costs_a_refused_request_a_second()
    {
        await using var server = await ServerThatTakesAsync(New);
        using var answer = new ManualResetEventSlim();
        var reads = 0;
        using var backend = BackendOf(server, _ =>
        {
            Interlocked.Increment(ref reads);
            answer.Wait(TestLimits.Wait);
            return New;
        });

        var results = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ =>
            backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default))).WithinLimit();

        Assert.All(results, result => Assert.Equal(UpstreamFault.Unauthorized, result.Fault));
        Assert.Equal(1, reads);
        answer.Set();
        await Eventually.TrueAsync(async () => (await backend.StreamAsync(
            BackendUnderTest.Prompt, new RecordingSink(), default)).Outcome == StreamOutcome.Completed);
    }

    [Fact]
    public async Task New_key_of_a_reload_is_sent_from_the_next_request_on()
    {
        await using var server = await ServerThatTakesAsync(New);
        using var backend = BackendOf(server, null);

        backend.Apply(OptionsOf(server) with { ApiKey = New });

        Assert.Equal(StreamOutcome.Completed,
            (await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit()).Outcome);
        Assert.Equal([New], KeysSeen(server));
    }

    [Fact]
    public async Task Reload_that_does_not_change_the_key_keeps_the_one_that_was_read_after_a_401()
    {
        await using var server = await ServerThatTakesAsync(New);
        using var backend = BackendOf(server, _ => New);
        _ = await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();

        // As when a certificate is renewed.
        backend.Apply(OptionsOf(server));

        _ = await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();
        Assert.Equal([BackendUnderTest.ApiKey, New, New], KeysSeen(server));
    }

    [Fact]
    public async Task Error_quotes_neither_the_new_key_nor_the_one_before_it()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        server.Scenario = exchange => exchange.RespondAsync(401, "application/json",
            $$$"""{"error":{"type":"{{{BackendUnderTest.ApiKey}}}","code":"{{{New}}}"}}""");
        using var backend = BackendOf(server, _ => New);

        var result = await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();

        Assert.Equal("the upstream answered HTTP 401", result.Reason);
    }

    private static async Task<FakeLlmServer> ServerThatTakesAsync(string key)
    {
        var server = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        var answer = server.Scenario;
        server.Scenario = exchange => exchange.Request.Headers["Authorization"] == "Bearer " + key
            ? answer(exchange)
            : exchange.RespondAsync(401, "application/json", "{}");
        return server;
    }

    private static OpenAIOptions OptionsOf(FakeLlmServer server) => new()
    {
        ApiKey = BackendUnderTest.ApiKey,
        ApiKeyFile = "/the/file",
        ApiBase = server.BaseAddress,
    };

    private static OpenAIBackend BackendOf(FakeLlmServer server, Func<string, string?>? read) =>
        new(OptionsOf(server), new RetryPolicy(0), new BackendContext { ReadSecretFile = read });

    private static IEnumerable<string> KeysSeen(FakeLlmServer server) =>
        server.Requests.Select(request => request.Headers["Authorization"]["Bearer ".Length..]);
}
