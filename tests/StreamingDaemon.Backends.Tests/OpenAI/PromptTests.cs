using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>Alone: what other tests allocate would be measured too.</summary>
[CollectionDefinition(nameof(PromptTests), DisableParallelization = true)]
[Collection(nameof(PromptTests))]
public sealed class PromptTests
{
    private const int Streams = 1000;

    /// <summary>One for all: the upstream of these tests is in the same process, and holds its heads.</summary>
    private static readonly string s_kilobyte = new('x', 1000);

    /// <summary>A short body is sent differently from a long one.</summary>
    [Trait("Takes", "Long")]
    [Theory]
    [InlineData(FakeLlmTransport.Http1, 10_000)]
    [InlineData(FakeLlmTransport.Http1, 40_000)]
    [InlineData(FakeLlmTransport.H2c, 10_000)]
    [InlineData(FakeLlmTransport.H2c, 40_000)]
    public async Task Thousand_answers_in_progress_hold_none_of_their_prompts(FakeLlmTransport transport, int length)
    {
        var without = await BytesOfStreamsAsync(transport, 10);
        var with = await BytesOfStreamsAsync(transport, length);

        // A third is more than the measurement's variation. Text and body would be three times the length.
        Assert.InRange((with - without) / Streams, long.MinValue, length / 3);
    }

    [Trait("Takes", "Long")]
    [Fact]
    public async Task Thousand_answers_in_progress_hold_none_of_their_heads()
    {
        const int length = 20_000;
        var without = await BytesOfStreamsAsync(FakeLlmTransport.H2c, 10);
        var with = await BytesOfStreamsAsync(FakeLlmTransport.H2c, 10, length);

        Assert.InRange((with - without) / Streams, long.MinValue, length / 3);
    }

    [Fact]
    public async Task Text_is_let_go_when_it_is_written_and_its_json_when_the_answer_begins()
    {
        var held = new List<int>();
        var released = new TaskCompletionSource();
        await using var upstream = await BackendUnderTest.StartAsync(scenario: async exchange =>
        {
            await released.Task;
            await FakeLlmScenarios.RunAsync(exchange);
        });
        var messages = $"[{{\"content\":\"{new string('x', 4000)}\"}}]";
        var request = new HeldRequest(held)
        {
            Prompt = "not sent",
            Messages = new Conversation(Encoding.UTF8.GetBytes(messages), false),
            Parameters = new Dictionary<string, ReadOnlyMemory<byte>>
            {
                ["user"] = Encoding.UTF8.GetBytes($"\"{new string('x', 1000)}\""),
            },
            RetryWindow = TestLimits.Wait,
        };

        var answer = upstream.Backend.StreamAsync(request, upstream.Sink, default);
        await upstream.Server.NextRequestAsync(TestLimits.Wait);

        Assert.Null(request.Prompt);
        Assert.Null(request.Messages);
        Assert.Empty(request.Parameters);
        Assert.InRange(Assert.Single(held), 5000, 5100);
        released.SetResult();
        await answer.WithinLimit();
        Assert.Equal(0, held[^1]);
    }

    [Fact]
    public async Task Retry_sends_the_whole_prompt_again_although_its_text_was_let_go()
    {
        var attempts = 0;
        await using var upstream = await BackendUnderTest.StartAsync(scenario: exchange =>
            Interlocked.Increment(ref attempts) < 3
                ? exchange.RespondAsync(503, "text/plain", "later")
                : FakeLlmScenarios.RunAsync(exchange));
        var request = new StreamRequest { Prompt = new string('x', 50_000), RetryWindow = TestLimits.Wait };

        var result = await upstream.Backend.StreamAsync(request, upstream.Sink, default).WithinLimit();

        Assert.Equal(StreamOutcome.Completed, result.Outcome);
        var bodies = upstream.Server.Requests.Select(r => r.Body).ToList();
        Assert.Equal(3, bodies.Count);
        Assert.All(bodies, body => Assert.Equal(50_000, ContentOf(body).Length));
    }

    [Fact]
    public void Text_that_is_written_in_pieces_is_the_text_whatever_is_at_their_borders()
    {
        var random = new Random(5);
        string[] alphabet = ["a", "é", "漢", "😀", "\"", "\\", "\n", "\u0001"];
        for (var round = 0; round < 60; round++)
        {
            var text = new StringBuilder();
            var length = random.Next(1, 70_000);
            while (text.Length < length)
                text.Append(alphabet[random.Next(alphabet.Length)]);

            using var body = new ChatRequestBody(new StreamRequest { Prompt = $"{text}" }, "m");
            using var json = new MemoryStream();
            body.WriteTo(json);

            Assert.Equal(json.Length, body.Length);
            Assert.Equal($"{text}", ContentOf(Encoding.UTF8.GetString(json.ToArray())));
        }
    }

    [Fact]
    public async Task Upstream_that_chooses_http1_over_tls_costs_a_connection_for_each_stream_from_then_on()
    {
        await using var upstream = await BackendUnderTest.StartAsync(FakeLlmTransport.Http1Tls);
        var before = upstream.Backend.BytesPerStream;

        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);

        Assert.Equal((16 * 1024, 112 * 1024), (before, upstream.Backend.BytesPerStream));
    }

    private static string ContentOf(string body)
    {
        using var document = JsonDocument.Parse(body);
        return document.RootElement.GetProperty("messages")[0].GetProperty("content").GetString()!;
    }

    private static async Task<long> BytesOfStreamsAsync(
        FakeLlmTransport transport, int length, int headLength = 0)
    {
        using var end = new CancellationTokenSource();
        await using var http1 = new ForgetfulServer();
        await using var upstream = await BackendUnderTest.StartAsync(transport, options => options with
        {
            // The measurement would include what Kestrel's pools keep of HTTP/1.1 bodies.
            ApiBase = transport == FakeLlmTransport.Http1 ? http1.BaseAddress : options.ApiBase,
        }, async exchange =>
        {
            for (var left = headLength; left > 0; left -= 1000)
                exchange.Context.Response.Headers[$"X-{left}"] = s_kilobyte;
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("first");
            await Task.Delay(Timeout.Infinite, exchange.Context.RequestAborted);
        });
        upstream.Server.ForgetsBodies = true;
        var before = Live();
        var sinks = Enumerable.Range(0, Streams).Select(_ => new RecordingSink()).ToList();
        var answers = sinks.Select(sink => Begin(upstream.Backend, sink, length, end.Token)).ToList();
        foreach (var sink in sinks)
            await sink.FirstDelta.WithinLimit();

        var held = Live() - before;
        await end.CancelAsync();
        foreach (var answer in answers)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => answer.WithinLimit());
        return held;
    }

    // Not in the caller: its frame would hold the request.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Task<BackendResult> Begin(
        OpenAIBackend backend, RecordingSink sink, int length, CancellationToken end) =>
        backend.StreamAsync(new StreamRequest { Prompt = new string('x', length) }, sink, end);

    private static long Live()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private sealed record HeldRequest(List<int> Held) : StreamRequest
    {
        protected override void OnPromptReleased(int stillHeld) => Held.Add(stillHeld);
    }
}
