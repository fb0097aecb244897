using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The formats of an answer, over real sockets, with a model's server behind.</summary>
public sealed class FormatTests
{
    private const string Chunk =
        """{"id" : "x","choices":[ {"index":0,"delta":{"tool_calls":[{"id":"c1"}],"odd":1.50}}],"é":"\u00e9"}""";

    [Fact]
    public async Task Chunks_of_the_upstream_arrive_byte_for_byte_in_format_openai()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendRawAsync(": a comment\n\n");
            await exchange.SendRawAsync($"data: {Chunk}\n\n");
            await exchange.SendFinishAsync("tool_calls");
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync();

        var answer = await daemon.AskAsync("""{"prompt":"hi","format":"openai"}""");

        Assert.Equal(Answer.StreamHead, answer.Head);
        Assert.Equal(3, answer.Events.Count);
        Assert.Equal($"data: {Chunk}", answer.Events[0]);
        Assert.Contains("\"finish_reason\":\"tool_calls\"", answer.Events[1], StringComparison.Ordinal);
        Assert.True(answer.IsDone);
        Assert.Equal("Completed", await daemon.OutcomeAsync());
    }

    [Fact]
    public async Task Reasoning_finish_reason_and_usage_are_events_of_their_own_if_the_site_wants_them()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendReasoningAsync("Hm.");
            await exchange.SendDeltaAsync("Yes");
            await exchange.SendFinishAsync("length");
            await exchange.SendRawAsync("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9,"
                + "\"total_tokens\":16,\"completion_tokens_details\":{\"reasoning_tokens\":4}}}\n\n");
            await exchange.SendDoneAsync();
        };
        var environment = new Dictionary<string, string>(upstream.OpenAIEnvironment(http2: false))
        {
            ["STREAMING_DAEMON_STREAMING__EVENTS"] = "reasoning,finish,usage",
        };
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal(
            [
                """data: {"reasoning":"Hm."}""", """data: {"content":"Yes"}""", """data: {"finish_reason":"length"}""",
                """data: {"usage":{"prompt_tokens":7,"completion_tokens":9,"reasoning_tokens":4}}""", "data: [DONE]",
            ],
            answer.Events);
        Assert.Equal(["Yes"], (await daemon.AskAsync("""{"prompt":"hi","events":[]}""")).Contents);
    }

    [Fact]
    public async Task Answer_without_anything_is_an_error_object_and_no_success_in_format_openai()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync();

        var answer = await daemon.AskAsync("""{"prompt":"hi","format":"openai"}""");

        Assert.DoesNotContain("[DONE]", answer.Raw, StringComparison.Ordinal);
        var body = answer.Events.Count > 0 ? answer.Events[^1]["data: ".Length..] : answer.Body;
        Assert.Equal("empty_answer",
            JsonDocument.Parse(body).RootElement.GetProperty("error").GetProperty("code").GetString());
        Assert.Equal("UpstreamError", await daemon.OutcomeAsync());
    }

    [Fact]
    public async Task Mock_makes_events_and_chunks_as_they_are_asked_for()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var text = await daemon.AskAsync("""{"events":["finish","usage"]}""");
        var chunks = await daemon.AskAsync("""{"format":"openai"}""");

        Assert.Equal(18, text.Contents.Count);
        Assert.Equal(
            [
                """data: {"finish_reason":"stop"}""",
                """data: {"usage":{"prompt_tokens":0,"completion_tokens":18}}""", "data: [DONE]",
            ],
            text.Events.Skip(18));
        Assert.Equal(20, chunks.Events.Count);
        Assert.All(chunks.Events.SkipLast(1), e => Assert.Contains("\"model\":\"mock\"", e, StringComparison.Ordinal));
        Assert.Contains("\"finish_reason\":\"stop\"", chunks.Events[18], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unknown_format_is_a_400_in_the_format_of_the_site()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_STREAMING__FORMAT"] = "openai" }, true);

        var answer = await daemon.AskAsync("""{"format":"ai-sdk"}""");

        Assert.Equal("HTTP/1.1 400 Bad Request", answer.StatusLine);
        var error = JsonDocument.Parse(answer.Body).RootElement.GetProperty("error");
        Assert.Equal("unknown_format", error.GetProperty("code").GetString());
        Assert.Equal("invalid_request_error", error.GetProperty("type").GetString());
    }
}
