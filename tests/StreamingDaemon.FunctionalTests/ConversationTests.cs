using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using CsCheck;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What the application sends reaches the upstream.</summary>
public sealed class ConversationTests
{
    /// <summary>As PHP writes it: escaped slashes and letters, [] for what is empty.</summary>
    private const string Tools = """
        [{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]
        """;

    private const string WithTools = """
        [{"role":"user","content":[{"type":"text","text":"Wie warm ist es hier? \u00fc"},{"type":"image_url","image_url":{"url":"data:image\/png;base64,iVBORw0KGgo="}}]},
         {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"K\\u00f6ln\"}"}}]},
         {"role":"tool","tool_call_id":"call_1","content":"20 \u00b0C"},
         {"role":"user","name":"Ann","content":[{"type":"image_url","image_url":{"url":"https:\/\/example.com\/a.png","detail":"low"}}],"x_server":{"a":[1.0]}}]
        """;

    private static readonly string[] s_parameters =
    [
        """ "top_p":0.90,"frequency_penalty":0,"presence_penalty":-0.5,"seed":9007199254740993,"n":1,"top_logprobs":2 """,
        """ "logprobs":true,"logit_bias":{"50256":-100},"max_completion_tokens":500,"stop":["\n\n","END"],"user":"u" """,
        """ "response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}},"store":false """,
        """ "reasoning_effort":"low","verbosity":"low","service_tier":"auto","parallel_tool_calls":false,"metadata":{"a":"b"} """,
        """ "tool_choice":{"type":"function","function":{"name":"weather"}},"modalities":["text"],"prompt_cache_key":"k" """,
        """ "prediction":{"type":"content","content":"x"},"safety_identifier":"s","web_search_options":{"search_context_size":"low"} """,
        """ "audio":{"voice":"alloy","format":"wav"},"functions":[{"name":"f"}],"function_call":"auto","prompt_cache_retention":"24h" """,
        """ "stream_options":{"include_usage":true} """,
    ];

    private static readonly string[] s_roles = ["user", "assistant", "system", "developer", "oracle"];

    private static readonly Gen<string> s_text = Gen.OneOf(
        Gen.String.Select(Sound), Gen.Const("20 °C 😀 \"\\\n\u0000/<>"), Gen.String[0, 3000].Select(Sound));

    private static readonly Gen<JsonNode?> s_any = Gen.Recursive<JsonNode?>((depth, inner) => depth > 2
        ? Gen.OneOf(
            s_text.Select(s => (JsonNode?)JsonValue.Create(s)), Gen.Long.Select(n => (JsonNode?)JsonValue.Create(n)),
            Gen.Double.Where(double.IsFinite).Select(n => (JsonNode?)JsonValue.Create(n)),
            Gen.Bool.Select(b => (JsonNode?)JsonValue.Create(b)), Gen.Const((JsonNode?)null))
        : Gen.OneOf(
            inner.List[0, 3].Select(items => (JsonNode?)new JsonArray([.. items.Select(i => i?.DeepClone())])),
            inner.List[0, 3].Select(items => (JsonNode?)new JsonObject(
                items.Select((item, i) => KeyValuePair.Create($"k{i}", item?.DeepClone()))))));

    private static readonly Gen<JsonArray> s_parts = s_any.List[1, 3].Select(values => new JsonArray(
        [.. values.Select((value, i) => (JsonNode)new JsonObject { ["type"] = $"kind{i}", ["any"] = value?.DeepClone() })]));

    private static readonly Gen<JsonNode> s_content =
        Gen.OneOf(s_text.Select(t => (JsonNode)JsonValue.Create(t)!), s_parts.Select(p => (JsonNode)p));

    /// <summary>A turn, or a call with its result.</summary>
    private static readonly Gen<JsonObject[]> s_turns = Gen.OneOf(
        Gen.Select(Gen.Int[0, 4].Select(i => s_roles[i]), s_content, s_any,
            (role, content, extra) => new[]
            {
                new JsonObject { ["role"] = role, ["content"] = content.DeepClone(), ["extra"] = extra?.DeepClone() },
            }),
        Gen.Select(s_text, s_content, s_any, (id, result, arguments) => new[]
        {
            new JsonObject
            {
                ["role"] = "assistant",
                ["content"] = null,
                ["tool_calls"] = new JsonArray(new JsonObject { ["id"] = id, ["custom"] = arguments?.DeepClone() }),
            },
            new JsonObject { ["content"] = result.DeepClone(), ["tool_call_id"] = id, ["role"] = "tool" },
        }));

    [Fact]
    public async Task Tool_turn_and_image_of_a_PHP_application_reach_the_upstream_byte_for_byte()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        var answer = await daemon.AskAsync(
            $$"""{"user_id":"6b1f7f1e-9d9c","messages":{{WithTools}},"tools":{{Tools}},"response_headers":[],"metadata":[]}""");

        Assert.True(answer.IsDone);
        Assert.Equal($$"""{"model":"gpt-4o-mini","messages":{{WithTools}},"tools":{{Tools}},"stream":true}""",
            Assert.Single(upstream.Requests).Body);
        var line = Assert.Single(await daemon.AccessLogAsync(1));
        Assert.Equal("6b1f7f1e-9d9c", line.GetProperty("UserId").GetString());
        Assert.Empty(daemon.LogLines("ignored"));
    }

    [Fact]
    public async Task Every_parameter_of_the_api_reaches_the_upstream()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        foreach (var parameters in s_parameters)
            Assert.True((await daemon.AskAsync($$"""{"prompt":"hi",{{parameters}}}""")).IsDone);

        Assert.Equal(s_parameters.Length, upstream.Requests.Count);
        foreach (var (parameters, request) in s_parameters.Zip(upstream.Requests))
        {
            var body = JsonNode.Parse(request.Body)!.AsObject();
            foreach (var (name, value) in JsonNode.Parse($$"""{{{parameters}}}""")!.AsObject())
                Assert.True(JsonNode.DeepEquals(value, body[name]), $"{name} of {request.Body}");
        }

        Assert.Empty(daemon.LogLines("ignored"));
    }

    [Fact]
    public async Task System_beside_messages_comes_first_unless_they_have_their_own()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        _ = await daemon.AskAsync("""{"system":"Be brief","messages":[{"role":"user","content":"a"}]}""");
        _ = await daemon.AskAsync("""{"system":"Be brief","messages":[{"role":"developer","content":"b"},{"content":"a"}]}""");

        Assert.Equal(
            [
                """{"model":"gpt-4o-mini","messages":[{"role":"system","content":"Be brief"},{"role":"user","content":"a"}],"stream":true}""",
                """{"model":"gpt-4o-mini","messages":[{"role":"developer","content":"b"},{"role":"user","content":"a"}],"stream":true}""",
            ],
            upstream.Requests.Select(request => request.Body));
    }

    [Theory]
    [InlineData("""{"messages":"Hi"}""", """[{"role":"user","content":"Hi"}]""")]
    [InlineData("""{"messages":{"role":"user","content":"Hi"}}""", """[{"role":"user","content":"Hi"}]""")]
    [InlineData("""{"messages":["Hi"]}""", """[{"role":"user","content":"Hi"}]""")]
    [InlineData("""{"messages":[{"role":"user","content":{"type":"text","text":"Hi"}}]}""",
        """[{"role":"user","content":[{"type":"text","text":"Hi"}]}]""")]
    [InlineData("""{"messages":[{"role":"user","content":["Hi",{"type":"image_url","image_url":"https://h/a.png"}]}]}""",
        """[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image_url","image_url":{"url":"https://h/a.png"}}]}]""")]
    [InlineData("""{"system":[{"type":"text","text":"Be brief."},{"type":"text","text":"Be kind."}],"prompt":["Hi","there"]}""",
        """[{"role":"system","content":"Be brief.\n\nBe kind."},{"role":"user","content":"Hi\n\nthere"}]""")]
    [InlineData("""{"messages":[{"role":"assistant","tool_calls":{"id":"1","type":"function","function":{"name":"f","arguments":[]}}},{"role":"tool","tool_call_id":"1","content":"x"}]}""",
        """[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"x"}]""")]
    public async Task What_can_be_understood_reaches_the_upstream_in_the_form_that_servers_take(
        string handoff, string messages)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        Assert.True((await daemon.AskAsync(handoff)).IsDone);

        var body = JsonNode.Parse(Assert.Single(upstream.Requests).Body)!;
        Assert.Equal(messages, body["messages"]!.ToJsonString(
            new JsonSerializerOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }));
        Assert.Empty(daemon.LogLines("ignored"));
    }

    [Fact]
    public async Task Call_whose_result_cannot_be_sent_is_left_out_with_it_and_both_are_named()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        _ = await daemon.AskAsync("""
            {"request_id":"r-1","messages":[{"role":"user","content":"a"},
             {"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},
             {"role":"tool","tool_call_id":"1","content":null,"secret":20},{"role":"user","content":"b"}]}
            """);

        Assert.Equal("""[{"role":"user","content":"a"},{"role":"user","content":"b"}]""",
            JsonNode.Parse(Assert.Single(upstream.Requests).Body)!["messages"]!.ToJsonString());
        Assert.Contains("\"Fields\":\"messages[1], messages[2]\",\"RequestId\":\"r-1\"",
            Assert.Single(daemon.LogLines("ignored unusable")), StringComparison.Ordinal);
        Assert.DoesNotContain("secret\"", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Unknown_field_is_named_in_one_warning_or_passes_if_the_site_says_so(bool passes)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var environment = upstream.OpenAIEnvironment(false);
        environment["OPENAI_PASS_UNKNOWN"] = passes ? "true" : "false";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        _ = await daemon.AskAsync("""
            {"prompt":"hi","top_k":40,"chat_template_kwargs":{"secret":[]},"a\nb":null,"backend_url":"http://x/","request_id":"r-1"}
            """);

        var body = Assert.Single(upstream.Requests).Body;
        const string passed = ",\"top_k\":40,\"chat_template_kwargs\":{\"secret\":[]},\"a\\nb\":null,\"stream\":true}";
        Assert.EndsWith(passes ? passed : "}],\"stream\":true}", body, StringComparison.Ordinal);
        await daemon.AccessLogAsync(1);
        var unknown = daemon.LogLines("ignored unknown");
        Assert.Equal(passes ? 0 : 1, unknown.Count);
        Assert.All(unknown, line => Assert.Contains(
            "\"Fields\":\"top_k, chat_template_kwargs, a_b\",\"RequestId\":\"r-1\"", line, StringComparison.Ordinal));
        Assert.Contains("\"Fields\":\"backend_url\"", Assert.Single(daemon.LogLines("ignored unusable")),
            StringComparison.Ordinal);
        Assert.DoesNotContain("secret\"", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Any_conversation_reaches_the_upstream_as_it_is()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        await Gen.Select(s_turns.List[1, 5], s_any, Gen.Bool).SampleAsync(async (turns, schema, isEscaped) =>
        {
            var handoff = new JsonObject
            {
                ["messages"] = new JsonArray([.. turns.SelectMany(pair => pair).Select(turn => turn.DeepClone())]),
                ["response_format"] = new JsonObject { ["schema"] = schema?.DeepClone() },
            };
            var answer = await daemon.AskAsync(handoff.ToJsonString(new JsonSerializerOptions
            {
                Encoder = isEscaped ? JavaScriptEncoder.Default : JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
            }));

            Assert.True(answer.IsDone, answer.Head);
            var body = JsonNode.Parse((await upstream.NextRequestAsync(TestClient.Patience)).Body)!;
            Assert.True(JsonNode.DeepEquals(handoff["messages"], body["messages"]), body.ToJsonString());
            // An empty array is PHP's empty object.
            if (schema is JsonArray { Count: 0 })
                handoff["response_format"]!["schema"] = new JsonObject();
            Assert.True(JsonNode.DeepEquals(handoff["response_format"], body["response_format"]), body.ToJsonString());
        }, iter: 100, threads: 1);

        Assert.Empty(daemon.LogLines("ignored"));
    }

    private static string Sound(string text) => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
}
