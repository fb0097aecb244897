using System.Diagnostics;
using System.Text;
using StreamingDaemon.Backends.Mock;

namespace StreamingDaemon.Backends.Tests.Mock;

public sealed class MockBackendTests
{
    private const string N = "1234567890123456789012345678901234567890"; // 40 bytes

    private static readonly MockOptions s_fast = new() { DelayMs = 0 };

    [Fact]
    public async Task Answer_is_18_texts_in_the_scheme_of_the_family()
    {
        var texts = await StreamAsync(new StreamRequest { RequestId = "r", UserId = 42, Prompt = "Hi" });

        Assert.Equal(18, texts.Count);
        Assert.Contains("streaming-daemon", texts[0], StringComparison.Ordinal);
        Assert.EndsWith("Prompt: Hi", texts[0], StringComparison.Ordinal);
        Assert.Equal("User ID: 42", texts[1]);
        for (var number = 13; number <= 17; number++)
            Assert.Equal($"This is message {number} of 18.", texts[number - 1]);
        Assert.Equal("[DONE-CONTENT]", texts[17]);
    }

    [Theory]
    [InlineData(null, "(none)")]
    [InlineData("", "(none)")]
    [InlineData(N + "1234567890", N + "1234567890")]
    [InlineData(N + "12345678901", N + "1234567890...")]
    [InlineData(N + "123456789é", N + "123456789...")]
    [InlineData(N + "1234567🌍", N + "1234567...")]
    public async Task Preview_is_50_bytes_cut_at_a_character(string? prompt, string preview)
    {
        var texts = await StreamAsync(new StreamRequest { RequestId = "r", Prompt = prompt });
        Assert.EndsWith("Prompt: " + preview, texts[0], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"role":"user","content":"last"}""", "last")]
    [InlineData("""{"content":[{"type":"text","text":"two"},5,{"type":"image_url","image_url":{"url":"x"}},{"text":"parts"}]}""",
        "two\nparts")]
    [InlineData("""{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}""", "(none)")]
    [InlineData("""{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}""", "(none)")]
    public async Task Preview_of_a_conversation_is_its_last_message(string last, string preview)
    {
        var request = new StreamRequest
        {
            RequestId = "r",
            Prompt = "not this",
            Messages = new Conversation(Encoding.UTF8.GetBytes($$"""[{"role":"user","content":"first"},{{last}}]"""), false),
        };
        Assert.EndsWith($"Prompt: {preview}", (await StreamAsync(request))[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Largest_user_id_fits()
    {
        var texts = await StreamAsync(new StreamRequest { RequestId = "r", UserId = long.MinValue });
        Assert.Equal("User ID: -9223372036854775808", texts[1]);
    }

    [Fact]
    public async Task User_that_is_a_text_is_shown_as_far_as_a_prompt_would_be()
    {
        Assert.Equal("User ID: alice", (await StreamAsync(new StreamRequest { UserId = new UserId("alice") }))[1]);
        Assert.Equal("User ID: 0", (await StreamAsync(new StreamRequest()))[1]);
        var texts = await StreamAsync(new StreamRequest { UserId = new UserId(new string('漢', 128)) });
        Assert.Equal($"User ID: {new string('漢', 16)}...", texts[1]);
    }

    [Fact]
    public void Without_delay_the_whole_answer_is_synchronous()
    {
        using var backend = new MockBackend(s_fast);
        var task = backend.StreamAsync(new StreamRequest { RequestId = "r" }, new RecordingSink(), default);
        Assert.True(task.IsCompletedSuccessfully);
    }

    [Fact]
    public async Task First_text_comes_at_once_and_17_delays_follow()
    {
        using var backend = new MockBackend(new MockOptions { DelayMs = 30 });
        var sink = new RecordingSink();
        var start = Stopwatch.GetTimestamp();
        var streaming = backend.StreamAsync(new StreamRequest { RequestId = "r" }, sink, default);
        Assert.Single(sink.Texts);

        await streaming.WithinLimit();
        Assert.Equal(18, sink.Texts.Count);
        Assert.True(Stopwatch.GetElapsedTime(start) >= TimeSpan.FromMilliseconds(17 * 30));
    }

    [Fact]
    public async Task Response_starts_before_the_latency_and_the_first_text_after_it()
    {
        using var backend = new MockBackend(new MockOptions { DelayMs = 0, LatencyMs = 200 });
        var sink = new RecordingSink();
        var streaming = backend.StreamAsync(new StreamRequest { RequestId = "r" }, sink, default);
        Assert.Equal(1, sink.Started);
        Assert.Empty(sink.Texts);

        Assert.Equal(BackendResult.Completed, await streaming.WithinLimit());
        Assert.Equal(18, sink.Texts.Count);
        Assert.Equal(1, sink.Started);
    }

    [Fact]
    public async Task Cancelling_ends_the_stream_in_the_middle_of_a_delay()
    {
        using var backend = new MockBackend(new MockOptions { DelayMs = 60_000 });
        using var cancellation = new CancellationTokenSource();
        var sink = new RecordingSink();
        var streaming = backend.StreamAsync(new StreamRequest { RequestId = "r" }, sink, cancellation.Token);
        await sink.FirstDelta.WithinLimit();
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => streaming.WithinLimit());
    }

    [Fact]
    public async Task Slow_client_holds_back_its_own_stream_only()
    {
        using var backend = new MockBackend(new MockOptions { DelayMs = 1 });
        var gate = new TaskCompletionSource();
        var slow = new RecordingSink { OnWrite = _ => new ValueTask(gate.Task) };
        var held = backend.StreamAsync(new StreamRequest { RequestId = "slow" }, slow, default);
        var quick = new RecordingSink();
        await backend.StreamAsync(new StreamRequest { RequestId = "quick" }, quick, default).WithinLimit();

        Assert.Equal(18, quick.Texts.Count);
        Assert.Single(slow.Texts);
        gate.SetResult();
        await held.WithinLimit();
        Assert.Equal(18, slow.Texts.Count);
    }

    private static async Task<IReadOnlyList<string>> StreamAsync(StreamRequest request)
    {
        using var backend = new MockBackend(s_fast);
        var sink = new RecordingSink();
        var result = await backend.StreamAsync(request, sink, CancellationToken.None).WithinLimit();
        Assert.Equal(BackendResult.Completed, result);
        Assert.False(sink.DeltaBeforeStart);
        return sink.Texts;
    }
}
