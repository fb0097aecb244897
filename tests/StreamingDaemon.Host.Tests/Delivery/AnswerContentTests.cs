using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Delivery;
using StreamingDaemon.Uring;
using Xunit;

namespace StreamingDaemon.Host.Tests.Delivery;

public sealed class AnswerContentTests : IDisposable
{
    private readonly MemoryBudget _memory = new(1 << 20, 0);
    private readonly AnswerContent _content;

    public AnswerContentTests() => _content = new AnswerContent(maxBytes: 64, _memory);

    public void Dispose() => _content.Dispose();

    [Fact]
    public void Deltas_of_each_kind_are_collected()
    {
        Add("Hel", DeltaKinds.Text);
        Add("hm", DeltaKinds.Reasoning);
        Add("lo 日本", DeltaKinds.Text);
        Add("stop", DeltaKinds.FinishReason);
        Add("""{"prompt_tokens":1}""", DeltaKinds.Usage);

        var json = Json();
        Assert.Equal(("Hello 日本", "hm", "stop", 1), (json.GetProperty("content").GetString(),
            json.GetProperty("reasoning").GetString(), json.GetProperty("finish_reason").GetString(),
            json.GetProperty("usage").GetProperty("prompt_tokens").GetInt32()));
        Assert.False(json.TryGetProperty("tool_calls", out _));
        Assert.False(json.TryGetProperty("truncated", out _));
    }

    [Fact]
    public void Chunks_are_read_with_tool_calls_put_together_by_index()
    {
        Chunk("""{"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"hm"}}]}""");
        Chunk("""{"choices":[{"index":1,"delta":{"content":"other choice"}},{"index":0,"delta":{"content":"Hi"}}]}""");
        Chunk("""{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}}]}""");
        Chunk("""{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}}]}""");
        Chunk("""{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":1}"}}]}}]}""");
        Chunk("""{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":2,"completion_tokens":3}}""");

        var json = Json();
        Assert.Equal(("Hi", "hm", "tool_calls"), (json.GetProperty("content").GetString(),
            json.GetProperty("reasoning").GetString(), json.GetProperty("finish_reason").GetString()));
        Assert.Equal("""
            [{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]
            """, json.GetProperty("tool_calls").GetRawText());
        Assert.Equal(3, json.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
    }

    [Fact]
    public void Whole_calls_of_a_server_that_gives_all_of_them_index_0_stay_apart()
    {
        Chunk("""{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}""");
        Chunk("""{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":{"x":1}}}]}}]}""");

        var calls = Json().GetProperty("tool_calls");
        Assert.Equal(["a {}", "b {\"x\":1}"], calls.EnumerateArray().Select(call =>
            $"{call.GetProperty("id")} {call.GetProperty("function").GetProperty("arguments")}"));
    }

    [Fact]
    public void What_passes_the_limit_is_left_out_and_said()
    {
        Add(new string('a', 60), DeltaKinds.Text);
        Add("12345", DeltaKinds.Text);
        Add("6", DeltaKinds.Text);
        Add("length", DeltaKinds.FinishReason);

        var json = Json();
        Assert.Equal((new string('a', 60) + "1234", "length", true), (json.GetProperty("content").GetString(),
            json.GetProperty("finish_reason").GetString(), json.GetProperty("truncated").GetBoolean()));
    }

    [Theory]
    [InlineData(63, "", "", false)]
    [InlineData(64, "", "", false)]
    [InlineData(65, "", "", true)]
    [InlineData(62, "é", "é", false)]
    [InlineData(63, "é", "", true)]
    [InlineData(61, "日", "日", false)]
    [InlineData(62, "日本", "", true)]
    [InlineData(63, "日", "", true)]
    [InlineData(60, "😀", "😀", false)]
    [InlineData(60, "😀b", "😀", true)]
    [InlineData(61, "😀", "", true)]
    [InlineData(63, "😀", "", true)]
    public void Limit_is_kept_to_the_byte_and_cuts_no_character(int letters, string more, string kept, bool isCut)
    {
        // As one delta, and as several.
        foreach (var step in (int[])[1, 1000])
        {
            using var content = new AnswerContent(maxBytes: 64);
            var text = new string('a', letters);
            for (var i = 0; i < text.Length; i += step)
                content.Add(new StreamDelta(Encoding.UTF8.GetBytes(text[i..Math.Min(i + step, text.Length)]), DeltaKinds.Text));
            if (more.Length > 0)
                content.Add(new StreamDelta(Encoding.UTF8.GetBytes(more), DeltaKinds.Text));
            content.Add(new StreamDelta("x"u8.ToArray(), DeltaKinds.FinishReason));

            Assert.Equal(text[..Math.Min(letters, 64)] + kept, Encoding.UTF8.GetString(content.Text));
            Assert.Equal(isCut, content.IsTruncated);
        }
    }

    [Fact]
    public void Answer_that_is_one_delta_beyond_the_limit_is_not_delivered_empty()
    {
        Add(string.Concat(Enumerable.Repeat("日", 1000)), DeltaKinds.Text);

        Assert.Equal(string.Concat(Enumerable.Repeat("日", 21)), Json().GetProperty("content").GetString());
    }

    [Fact]
    public void What_is_collected_counts_in_the_memory_budget()
    {
        Add("Hello", DeltaKinds.Text);
        Assert.InRange(_memory.Held, 5, 1024);

        _content.Dispose();
        Assert.Equal(0, _memory.Held);
    }

    private void Add(string text, DeltaKinds kind) =>
        _content.Add(new StreamDelta(Encoding.UTF8.GetBytes(text), kind));

    private void Chunk(string json) => Add(json, DeltaKinds.Chunk);

    private JsonElement Json()
    {
        _content.End();
        var answer = new FinishedAnswer
        {
            RequestId = "r",
            UserId = 7,
            Backend = "openai",
            Model = "m",
            Outcome = StreamOutcome.Completed,
            Content = _content,
            AcceptedAt = DateTimeOffset.UnixEpoch,
            TimeToFirstToken = null,
            Duration = TimeSpan.FromMilliseconds(1500),
            Events = 0,
        };
        return JsonDocument.Parse(answer.ToJson("msg_1")).RootElement;
    }
}
