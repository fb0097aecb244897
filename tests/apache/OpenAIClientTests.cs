using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ApacheTests;

/// <summary>npm's <c>openai</c>, unmodified, with its base URL at <c>openai.php</c>.</summary>
public sealed partial class OpenAIClientTests(SharedServers servers)
{
    private const string Hello = """{"messages":[{"role":"user","content":"hello"}]}""";

    /// <summary>A server's habit of its own, which no format of ours knows.</summary>
    private const string ToolCall =
        """{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}""";

    private static readonly Lazy<string> s_client = new(() => NpmPackages.Install("openai", "ask.mjs"));

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Client_streams_text_from_the_mock(Stack stack)
    {
        var got = Ask(servers[stack], Hello);

        Assert.True(got.GetProperty("done").GetBoolean(), $"{got}");
        var deltas = Deltas(got);
        Assert.Equal("assistant", deltas[0].GetProperty("role").GetString());
        string text = Text(deltas);
        Assert.StartsWith("Hello from streaming-daemon", text, StringComparison.Ordinal);
        Assert.EndsWith("[DONE-CONTENT]", text, StringComparison.Ordinal);
        Assert.Equal("stop", FinishReason(got));
    }

    [Fact]
    public void Client_that_asks_for_usage_gets_a_last_chunk_with_it_and_no_choices()
    {
        var got = Ask(servers[Stack.EventWithPhpFpm], """
            {"messages":[{"role":"user","content":"hello"}],"stream_options":{"include_usage":true}}
            """);

        var chunks = got.GetProperty("chunks").EnumerateArray().ToList();
        Assert.Equal("stop", chunks[^2].GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        Assert.Equal(0, chunks[^1].GetProperty("choices").GetArrayLength());
        Assert.Equal(Expect.Events, chunks[^1].GetProperty("usage").GetProperty("total_tokens").GetInt32());
    }

    [Theory, MemberData(nameof(Both))]
    public async Task Client_streams_text_and_a_tool_call_of_a_model(Stack stack)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("Let me see. ☔");
            await exchange.SendChunkAsync(ToolCall);
            foreach (string piece in new[] { "{\\\"city\\\":", "\\\"Zürich\\\"}" })
            {
                await exchange.SendChunkAsync(
                    $$$"""{"tool_calls":[{"index":0,"function":{"arguments":"{{{piece}}}"}}]}""");
            }

            await exchange.SendFinishAsync("tool_calls");
            await exchange.SendDoneAsync();
        };
        using var apache = new ApacheServer(stack);
        await using var daemon = await StartDaemonAsync(apache, upstream);

        const string tools = """
            [{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{}}}}]
            """;
        var got = Ask(apache, $$$"""{"messages":[{"role":"user","content":"Rain?"}],"tools":{{{tools}}}}""");

        Assert.True(got.GetProperty("done").GetBoolean(), $"{got}");
        var deltas = Deltas(got);
        Assert.Equal("Let me see. ☔", Text(deltas));
        var calls = deltas.Where(delta => delta.TryGetProperty("tool_calls", out _))
            .Select(delta => delta.GetProperty("tool_calls")[0]).ToList();
        Assert.Equal("weather", calls[0].GetProperty("function").GetProperty("name").GetString());
        Assert.Equal("""{"city":"Zürich"}""", string.Concat(calls.Select(
            call => call.GetProperty("function").GetProperty("arguments").GetString())));
        Assert.Equal("tool_calls", FinishReason(got));
        // Empty objects reach the model as objects.
        var request = await upstream.NextRequestAsync(Wait.Limit);
        using var sent = JsonDocument.Parse(request.Body);
        Assert.Equal(tools.Trim(), sent.RootElement.GetProperty("tools").GetRawText());
    }

    [Theory, MemberData(nameof(Both))]
    public void Refusals_of_the_endpoint_are_errors_of_the_client(Stack stack)
    {
        var error = Ask(servers[stack], """{"messages":[]}""").GetProperty("error");

        Assert.Equal("BadRequestError", error.GetProperty("kind").GetString());
        Assert.Equal("invalid_request_error", error.GetProperty("type").GetString());
        Assert.Equal("400 There are no messages.", error.GetProperty("message").GetString());
    }

    [Fact]
    public async Task Answer_that_breaks_off_is_an_error_of_the_client_after_its_first_chunks()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("Half an");
        };
        using var apache = new ApacheServer(Stack.EventWithPhpFpm);
        await using var daemon = await StartDaemonAsync(apache, upstream);

        var got = Ask(apache, Hello);

        Assert.Equal("Half an", Text(Deltas(got)));
        Assert.Equal("APIError", got.GetProperty("error").GetProperty("kind").GetString());
        Assert.Contains("broke off", got.GetProperty("error").GetProperty("message").GetString(),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Client_that_wants_no_stream_is_told_that_this_endpoint_only_streams()
    {
        var error = Ask(servers[Stack.EventWithPhpFpm], """{"messages":[{"role":"user"}],"stream":false}""")
            .GetProperty("error");

        Assert.Contains("only streams", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Other_methods_and_addresses_are_refused()
    {
        var apache = servers[Stack.EventWithPhpFpm];
        Assert.Equal(405, Curl.Status(apache.Url("/chat/openai.php/chat/completions")));
        Assert.Equal(404, Curl.Status("--json", Hello, apache.Url("/chat/openai.php/models")));
        Assert.Equal(404, Curl.Status("--json", Hello, apache.Url("/chat/openai.php")));
    }

    /// <summary>The client's types name what the API takes.</summary>
    [Fact]
    public void Every_parameter_of_the_client_is_in_the_page_about_handoffs()
    {
        var types = File.ReadAllText(Path.Combine(Path.GetDirectoryName(s_client.Value)!, "node_modules", "openai",
            "resources", "chat", "completions", "completions.d.ts"));
        var body = types[types.IndexOf("interface ChatCompletionCreateParamsBase {", StringComparison.Ordinal)..];
        var parameters = Parameter().Matches(body[..body.IndexOf("\n}", StringComparison.Ordinal)])
            .Select(match => match.Groups[1].Value).ToList();
        Assert.Contains("messages", parameters);
        Assert.Contains("top_p", parameters);

        var page = File.ReadAllText(Path.Combine(Tools.Repository, "docs", "handoff.md"));
        Assert.DoesNotContain(parameters, name => !page.Contains($"`{name}`", StringComparison.Ordinal));
    }

    [GeneratedRegex(@"^    (\w+)\??:", RegexOptions.Multiline)]
    private static partial Regex Parameter();

    private static JsonElement Ask(ApacheServer apache, string request)
    {
        var (exitCode, said) = ChildProcess.Run(
            Tools.Node, s_client.Value, apache.Url("/chat/openai.php"), request);
        Assert.True(exitCode == 0, $"{said}{apache.Log}");
        return JsonDocument.Parse(said).RootElement;
    }

    private static async Task<DaemonProcess> StartDaemonAsync(ApacheServer apache, FakeLlmServer upstream) =>
        await DaemonProcess.StartAsync(
            new Dictionary<string, string>
            {
                ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
                ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString(),
                ["OPENAI_HTTP2_ENABLED"] = "false",
            },
            metrics: false, "--backend", "openai", "--socket", apache.DefaultSocket, "--socket-mode", "0666");

    private static List<JsonElement> Deltas(JsonElement got) =>
        [.. got.GetProperty("chunks").EnumerateArray().Select(c => c.GetProperty("choices")[0].GetProperty("delta"))];

    private static string Text(List<JsonElement> deltas) => string.Concat(deltas.Select(delta =>
        delta.TryGetProperty("content", out var content) ? content.GetString() : ""));

    private static string? FinishReason(JsonElement got) => got.GetProperty("chunks").EnumerateArray()
        .Last().GetProperty("choices")[0].GetProperty("finish_reason").GetString();

    /// <summary>Next to these tests, once per build of them: no package runs anything when it is
    /// installed.</summary>
}
