using System.Diagnostics;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class RequestTests
{
    [Fact]
    public async Task Request_has_the_keys_and_headers_of_the_family()
    {
        using var tracing = new Activity("somebody traces").Start();
        var seen = await SendAsync(BackendUnderTest.Prompt);
        Assert.Equal("/v1/chat/completions", seen.Path);
        Assert.Equal(
            """{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}],"stream":true}""",
            seen.Body);
        Assert.Equal("Bearer " + BackendUnderTest.ApiKey, seen.Headers["Authorization"]);
        Assert.Equal("application/json", seen.Headers["Content-Type"]);
        Assert.Equal("text/event-stream", seen.Headers["Accept"]);
        Assert.Equal("req-1", seen.Headers["X-Request-Id"]);
        Assert.Equal("req-1", seen.Headers["X-Client-Request-Id"]);
        Assert.False(seen.Headers.ContainsKey("X-Test-Pattern"));
        Assert.False(seen.Headers.ContainsKey("traceparent"));
    }

    [Fact]
    public async Task Optional_keys_are_sent_where_set()
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with
        {
            Model = "m2",
            MaxTokens = 7,
            Temperature = 0.5,
            System = "Be brief",
        });
        Assert.Equal(
            "{'model':'m2','messages':[{'role':'system','content':'Be brief'},"
            + "{'role':'user','content':'Hello'}],'max_tokens':7,'temperature':0.5,'stream':true}",
            seen.Body.Replace('"', '\''));
    }

    [Fact]
    public async Task Conversation_wins_over_prompt_and_system_and_keeps_its_roles()
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with
        {
            System = "not sent",
            Messages = [new ChatTurn("developer", "a"), new ChatTurn("user", "b")],
        });
        Assert.Contains(
            "'messages':[{'role':'developer','content':'a'},{'role':'user','content':'b'}],'stream':",
            seen.Body.Replace('"', '\''), StringComparison.Ordinal);
        Assert.DoesNotContain("Hello", seen.Body, StringComparison.Ordinal);
        Assert.DoesNotContain("not sent", seen.Body, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("'<>+&é日🌍 \" \\ \n \u0001")]
    [InlineData("half \ud83c of a pair")]
    public async Task Prompt_arrives_as_it_is(string prompt)
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with { Prompt = prompt });
        using var body = JsonDocument.Parse(seen.Body);
        var content = body.RootElement.GetProperty("messages")[0].GetProperty("content").GetString();
        Assert.Equal(prompt.Replace("half \ud83c", "half \ufffd", StringComparison.Ordinal), content);
    }

    [Fact]
    public async Task Text_outside_ascii_is_not_escaped()
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with { Prompt = "日本 <b>'é'</b>" });
        Assert.Contains("日本 <b>'é'</b>", seen.Body, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("finish:length", true)]
    [InlineData("a\r\nX-Evil: 1", false)]
    [InlineData("é", false)]
    [InlineData("", false)]
    public async Task Test_pattern_is_a_header_where_it_can_be_one(string pattern, bool isSent)
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with { TestPattern = pattern });
        Assert.Equal(isSent ? pattern : null, seen.Headers.GetValueOrDefault("X-Test-Pattern"));
        Assert.False(seen.Headers.ContainsKey("X-Evil"));
    }

    [Fact]
    public async Task Request_id_that_no_header_can_carry_is_left_out()
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with { RequestId = "a\nb" });
        Assert.False(seen.Headers.ContainsKey("X-Request-Id"));
        Assert.False(seen.Headers.ContainsKey("X-Client-Request-Id"));
    }

    [Fact]
    public async Task Final_slash_of_the_base_makes_no_difference()
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            configure: options => options with { ApiBase = new Uri(options.ApiBase + "/") });
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
        Assert.Equal("/v1/chat/completions", Assert.Single(upstream.Server.Requests).Path);
    }

    [Fact]
    public async Task Long_conversation_arrives_whole()
    {
        var prompt = new string('x', 1_000_000);
        var seen = await SendAsync(BackendUnderTest.Prompt with { Prompt = prompt });
        Assert.Contains(prompt, seen.Body, StringComparison.Ordinal);
    }

    private static async Task<FakeLlmRequest> SendAsync(StreamRequest request)
    {
        await using var upstream = await BackendUnderTest.StartAsync();
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync(request)).Outcome);
        return Assert.Single(upstream.Server.Requests);
    }
}
