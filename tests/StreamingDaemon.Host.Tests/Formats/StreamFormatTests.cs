using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Formats;

/// <summary>The bytes that a client gets for each kind of delta and each end, in each format.</summary>
public sealed class StreamFormatTests
{
    private const string Thinking = """{"events":["reasoning","finish","usage"],"request_id":"r1"}""";

    private static readonly StreamDelta[] s_everything =
    [
        Delta("Hm \"so\"\n", DeltaKinds.Reasoning), Delta("Yes."), Delta("length", DeltaKinds.FinishReason),
        Delta("""{"prompt_tokens":7,"completion_tokens":9,"cached_tokens":3}""", DeltaKinds.Usage),
    ];

    [Fact]
    public async Task Text_without_events_is_content_and_done()
    {
        var answer = await AskAsync("{}", s_everything);

        Assert.Equal("data: {\"content\":\"Yes.\"}\n\ndata: [DONE]\n\n", answer.Body);
        Assert.Equal(DeltaKinds.Text, answer.Wanted);
    }

    [Fact]
    public async Task Text_with_all_events_has_each_of_them_before_done()
    {
        var answer = await AskAsync(Thinking, s_everything);

        Assert.Equal("""
            data: {"reasoning":"Hm \"so\"\n"}

            data: {"content":"Yes."}

            data: {"finish_reason":"length"}

            data: {"usage":{"prompt_tokens":7,"completion_tokens":9,"cached_tokens":3}}

            data: [DONE]


            """, answer.Body);
    }

    [Theory]
    [InlineData("{}", DeltaKinds.Text | DeltaKinds.FinishReason)]
    [InlineData("""{"events":null}""", DeltaKinds.Text | DeltaKinds.FinishReason)]
    [InlineData("""{"events":5}""", DeltaKinds.Text | DeltaKinds.FinishReason)]
    [InlineData("""{"events":[]}""", DeltaKinds.Text)]
    [InlineData("""{"events":["reasoning","tools",5,{"a":1}]}""", DeltaKinds.Text | DeltaKinds.Reasoning)]
    [InlineData("""{"format":5}""", DeltaKinds.Text | DeltaKinds.FinishReason)]
    [InlineData("""{"format":""}""", DeltaKinds.Text | DeltaKinds.FinishReason)]
    [InlineData("""{"format":"openai"}""", DeltaKinds.Chunk)]
    public async Task Handoff_wins_over_the_site_and_what_is_unusable_in_it_counts_as_absent(
        string handoff, DeltaKinds wanted)
    {
        var answer = await AskAsync(handoff, [Delta("x")], new() { Events = DeltaKinds.FinishReason });

        Assert.Equal(wanted, answer.Wanted);
    }

    [Fact]
    public async Task Site_chooses_the_format_of_handoffs_that_name_none()
    {
        var options = new StreamingOptions { Format = "openai" };

        Assert.Equal(DeltaKinds.Chunk, (await AskAsync("{}", [Delta("x")], options)).Wanted);
        Assert.Equal(DeltaKinds.Text, (await AskAsync("""{"format":"text"}""", [Delta("x")], options)).Wanted);
    }

    [Theory]
    [InlineData("""{"format":"ai"}""")]
    [InlineData("""{"format":"OpenAI"}""")]
    [InlineData("""{"format":"text "}""")]
    public async Task Unknown_format_is_a_400_that_lists_the_formats(string handoff)
    {
        var answer = await AskAsync(handoff, [Delta("x")]);

        Assert.StartsWith("HTTP/1.1 400 ", answer.Head, StringComparison.Ordinal);
        Assert.Contains("The formats are text and openai.", answer.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OpenAI_chunks_are_one_event_each_byte_for_byte()
    {
        const string First = """{ "id" : 1.50, "choices":[{"delta":{"tool_calls":[{"x":"é\u00e9"}]}}], "new":null }""";

        var answer = await AskAsync("""{"format":"openai"}""",
            [Delta(First, DeltaKinds.Chunk), Delta("{\n\"two\":\n2}", DeltaKinds.Chunk)]);

        Assert.Equal($"data: {First}\n\ndata: {{\ndata: \"two\":\ndata: 2}}\n\ndata: [DONE]\n\n", answer.Body);
        Assert.Contains("\r\nContent-Type: text/event-stream\r\n", answer.Head, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OpenAI_makes_valid_chunks_for_a_backend_that_has_none()
    {
        var answer = await AskAsync("""{"format":"openai","request_id":"r1","model":"m\"1"}""",
            [Delta("Hm", DeltaKinds.Reasoning), Delta("\"Y\"\n"), Delta("es")]);

        var events = answer.Body.Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("data: [DONE]", events[^1]);
        var chunks = events[..^1].Select(e => JsonDocument.Parse(e["data: ".Length..]).RootElement).ToList();
        Assert.All(chunks, chunk =>
        {
            Assert.Equal("chatcmpl-r1", chunk.GetProperty("id").GetString());
            Assert.Equal("chat.completion.chunk", chunk.GetProperty("object").GetString());
            Assert.Equal("m\"1", chunk.GetProperty("model").GetString());
            Assert.InRange(DateTimeOffset.FromUnixTimeSeconds(chunk.GetProperty("created").GetInt64()),
                DateTimeOffset.UtcNow.AddMinutes(-1), DateTimeOffset.UtcNow.AddSeconds(1));
            Assert.Equal(0, chunk.GetProperty("choices")[0].GetProperty("index").GetInt32());
        });
        Assert.Equal(
            [
                """{"role":"assistant","reasoning_content":"Hm"}""", """{"content":"\"Y\"\n"}""",
                """{"content":"es"}""", "{}",
            ],
            chunks.Select(chunk => chunk.GetProperty("choices")[0].GetProperty("delta").GetRawText()));
        Assert.Equal([null, null, null, "stop"], chunks.Select(FinishReason));
    }

    [Fact]
    public async Task OpenAI_finish_reason_and_usage_of_a_backend_are_chunks_of_their_own()
    {
        var answer = await AskAsync("""{"format":"openai"}""", s_everything, unasked: true);

        var events = answer.Body.Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(5, events.Length);
        Assert.Equal("length", FinishReason(JsonDocument.Parse(events[2]["data: ".Length..]).RootElement));
        Assert.EndsWith("""
            "choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}
            """, events[3], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(StreamOutcome.UpstreamError)]
    [InlineData(StreamOutcome.UpstreamTruncated)]
    public async Task OpenAI_stream_that_fails_ends_with_an_error_object_and_no_done(StreamOutcome outcome)
    {
        var answer = await AskAsync("""{"format":"openai","request_id":"r1"}""",
            [Delta("{}", DeltaKinds.Chunk)],
            result: new BackendResult(outcome) { Fault = UpstreamFault.BrokenOff });

        Assert.StartsWith("data: {}\n\ndata: {\"error\":", answer.Body, StringComparison.Ordinal);
        AssertError(answer.Body["data: {}\n\ndata: ".Length..], "server_error",
            "The answer of the language model broke off.");
        Assert.DoesNotContain("[DONE]", answer.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OpenAI_call_that_fails_before_its_head_is_a_status_with_an_error_object()
    {
        var answer = await AskAsync("""{"format":"openai","request_id":"r1"}""", [],
            result: BackendResult.Failed(UpstreamFault.Connect, "refused"));

        Assert.StartsWith("HTTP/1.1 502 ", answer.Head, StringComparison.Ordinal);
        AssertError(answer.Body, "server_error", "The language model could not be reached.");
    }

    [Fact]
    public async Task Refusals_are_error_objects_too_if_the_format_is_openai()
    {
        var malformed = await AskAsync("[]", [], new() { Format = "openai" });

        Assert.StartsWith("HTTP/1.1 400 ", malformed.Head, StringComparison.Ordinal);
        AssertError(malformed.Body, "invalid_request_error", "The handoff data is not a JSON object.");
    }

    [Fact]
    public async Task Text_stream_that_fails_among_its_events_ends_with_an_error_and_no_done()
    {
        var answer = await AskAsync(Thinking, s_everything[..2],
            result: BackendResult.Failed(UpstreamFault.BrokenOff, "eof"));

        Assert.Contains("data: {\"error\":\"The answer of the language model broke off.", answer.Body,
            StringComparison.Ordinal);
        Assert.DoesNotContain("[DONE]", answer.Body, StringComparison.Ordinal);
    }

    [Fact]
    public void Plain_tokens_allocate_nothing_in_any_format()
    {
        var token = Delta("token \"x\"\n");
        var facts = new AnswerFacts("r1", "m-1", 1_700_000_000, IsFirst: false);
        var output = new System.Buffers.ArrayBufferWriter<byte>(64 * 1024);
        foreach (var format in StreamFormats.All)
        {
            foreach (var kind in (DeltaKinds[])[DeltaKinds.Text, DeltaKinds.Reasoning])
                Assert.Equal(0, BytesOfHundred(format, token with { Kind = kind }));
        }

        long BytesOfHundred(StreamFormat format, StreamDelta delta)
        {
            format.Write(output, delta, facts);
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 100; i++)
            {
                output.ResetWrittenCount();
                format.Write(output, delta, facts);
            }

            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    private static string? FinishReason(JsonElement chunk) =>
        chunk.GetProperty("choices")[0].GetProperty("finish_reason").GetString();

    private static void AssertError(string json, string type, string message)
    {
        var error = JsonDocument.Parse(json).RootElement.GetProperty("error");
        Assert.Equal(message, error.GetProperty("message").GetString());
        Assert.Equal(type, error.GetProperty("type").GetString());
        Assert.True(error.TryGetProperty("code", out _));
        Assert.NotEqual("", error.GetProperty("request_id").GetString());
    }

    private static StreamDelta Delta(string text, DeltaKinds kind = DeltaKinds.Text) =>
        new(Encoding.UTF8.GetBytes(text), kind);

    private static async Task<Received> AskAsync(string handoff, IReadOnlyList<StreamDelta> deltas,
        StreamingOptions? streaming = null, BackendResult? result = null, bool unasked = false)
    {
        var backend = new ScriptedBackend(deltas, result ?? BackendResult.Completed, unasked);
        await using var daemon = await InProcessDaemon.StartAsync(
            backend, new DaemonOptions { Streaming = streaming ?? new StreamingOptions() });
        using var client = TestClient.HandOver(daemon.SocketPath, handoff);
        var answer = await TestClient.ReadTextAsync(client);
        var body = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4;
        return new Received(answer[..body], answer[body..], backend.Wanted);
    }

    private sealed record Received(string Head, string Body, DeltaKinds Wanted);

    /// <summary>Sends of its deltas those that are wanted, or all of them.</summary>
    private sealed class ScriptedBackend(IReadOnlyList<StreamDelta> deltas, BackendResult result, bool unasked)
        : IStreamingBackend
    {
        public DeltaKinds Wanted { get; private set; }

        public string Name => "scripted";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public async Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            Wanted = request.Wanted;
            var sent = Wanted == DeltaKinds.Chunk || unasked
                ? deltas
                : deltas.Where(delta => Wanted.HasFlag(delta.Kind));
            foreach (var delta in sent)
                await sink.WriteAsync(delta, cancellationToken);
            return result;
        }
    }
}
