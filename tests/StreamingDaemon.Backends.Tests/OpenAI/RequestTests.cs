using System.Diagnostics;
using System.Text;
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

    [Theory]
    [InlineData(true, "")]
    [InlineData(false, "{'role':'system','content':'Be brief'},")]
    public async Task Conversation_wins_over_the_prompt_and_system_comes_first_unless_it_has_its_own(
        bool hasInstructions, string first)
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with
        {
            System = "Be brief",
            Messages = Json("[ {'role':'developer','content':'a'},\n{'x':1e0} ]", hasInstructions),
        });
        Assert.Equal(
            $"{{'model':'gpt-4o-mini','messages':[{first} {{'role':'developer','content':'a'}},\n{{'x':1e0}} ],'stream':true}}",
            seen.Body.Replace('"', '\''));
    }

    [Fact]
    public async Task Parameters_are_sent_byte_for_byte_after_those_that_the_daemon_knows()
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with
        {
            MaxTokens = 7,
            Parameters = Parameters(("top_p", "0.10"), ("tools", "[ {\"a\":1.0} ]"), ("stop", "\"\\u00e9\""),
                ("metadata", "{ \"k\":\"v\" }"), ("store", "true")),
            UnknownParameters = Parameters(("top_k", "5")),
        });
        Assert.EndsWith(
            "],'max_tokens':7,'top_p':0.10,'tools':[ {'a':1.0} ],'stop':'\\u00e9','metadata':{ 'k':'v' },"
            + "'store':true,'stream':true}",
            seen.Body.Replace('"', '\''), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unknown_parameters_are_sent_if_the_site_says_so()
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            configure: options => options with { PassUnknown = true });
        await upstream.StreamAsync(BackendUnderTest.Prompt with
        {
            UnknownParameters = Parameters(("top_k", "5"), ("a\"b", "null")),
        });
        Assert.EndsWith(""","top_k":5,"a\"b":null,"stream":true}""", Assert.Single(upstream.Server.Requests).Body,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, "{'include_usage':true}")]
    [InlineData("{'include_usage':false,'include_obfuscation':false}", "{'include_usage':true,'include_obfuscation':false}")]
    [InlineData("5", "{'include_usage':true}")]
    public async Task Token_counts_are_asked_for_if_the_stream_shows_them(string? given, string expected)
    {
        var seen = await SendAsync(BackendUnderTest.Prompt with
        {
            Wanted = DeltaKinds.Text | DeltaKinds.Usage,
            Parameters = given is null ? Parameters() : Parameters(("stream_options", given.Replace('\'', '"'))),
        });
        Assert.EndsWith($"],'stream_options':{expected},'stream':true}}", seen.Body.Replace('"', '\''),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(100)]
    [InlineData(100_000)]
    public async Task Conversation_of_any_length_arrives_byte_for_byte(int length)
    {
        var text = string.Concat(Enumerable.Range(0, length).Select(i => i % 7 == 0 ? "漢" : "x"));
        var messages = $$"""[{"role":"user","content":"{{text}}"} , {"role":"user","content":[{"type":"x"}]}]""";
        var seen = await SendAsync(BackendUnderTest.Prompt with
        {
            Messages = Json(messages, false),
            Parameters = Parameters(("tools", messages)),
        });
        Assert.Equal(
            $$"""{"model":"gpt-4o-mini","messages":{{messages}},"tools":{{messages}},"stream":true}""", seen.Body);
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

    private static Conversation Json(string messages, bool hasInstructions) =>
        new(Encoding.UTF8.GetBytes(messages.Replace('\'', '"')), hasInstructions);

    private static Dictionary<string, ReadOnlyMemory<byte>> Parameters(params (string Name, string Json)[] given) =>
        given.ToDictionary(p => p.Name, p => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(p.Json));

    private static async Task<FakeLlmRequest> SendAsync(StreamRequest request)
    {
        await using var upstream = await BackendUnderTest.StartAsync();
        Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync(request)).Outcome);
        return Assert.Single(upstream.Server.Requests);
    }
}
