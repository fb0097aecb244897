using System.Text;
using System.Text.RegularExpressions;
using StreamingDaemon.Host.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

public sealed partial class ParameterReaderTests
{
    [Theory]
    [InlineData("top_p", "0.10", "0.10")]
    [InlineData("top_p", "\" 0.5 \"", "0.5")]
    [InlineData("seed", "\"9007199254740993\"", "9007199254740993")]
    [InlineData("seed", "9007199254740993", "9007199254740993")]
    [InlineData("n", "2", "2")]
    [InlineData("max_completion_tokens", "1e3", "1000")]
    [InlineData("max_completion_tokens", "4096.0", "4096")]
    [InlineData("max_completion_tokens", "\"4096.0\"", "4096")]
    [InlineData("n", "1.5", "1.5")]
    [InlineData("seed", "1.0e+25", "1.0e+25")]
    [InlineData("seed", "18446744073709551615", "18446744073709551615")]
    [InlineData("top_p", "\".5\"", "0.5")]
    [InlineData("top_p", "\"+1\"", "1")]
    [InlineData("stop", "[ \"a\", \"\\u00e9\" ]", "[ \"a\", \"\\u00e9\" ]")]
    [InlineData("tools", "[{\"type\":\"function\"}]", "[{\"type\":\"function\"}]")]
    [InlineData("tool_choice", "{\"type\":\"function\"}", "{\"type\":\"function\"}")]
    [InlineData("tool_choice", "\"none\"", "\"none\"")]
    [InlineData("store", "false", "false")]
    [InlineData("logprobs", "5", "5")]
    [InlineData("logprobs", "\"maybe\"", "\"maybe\"")]
    [InlineData("logit_bias", "{\"50256\":-100}", "{\"50256\":-100}")]
    [InlineData("metadata", "{\"0\":\"a\",\"2\":\"b\"}", "{\"0\":\"a\",\"2\":\"b\"}")]
    public void Parameter_is_kept_as_it_is_but_a_number_loses_its_quotes(string name, string json, string expected)
    {
        var request = Read($$"""{"{{name}}": {{json}} }""");

        Assert.Equal(expected, Encoding.UTF8.GetString(Assert.Single(request.Parameters).Value.Span));
        Assert.Empty(request.Unusable);
        Assert.Empty(request.Unknown);
    }

    [Theory]
    [InlineData("\"1\"", "true")]
    [InlineData("1", "true")]
    [InlineData("\"true\"", "true")]
    [InlineData("\"On\"", "true")]
    [InlineData("\"\"", "false")]
    [InlineData("0", "false")]
    [InlineData("\"0\"", "false")]
    [InlineData("\"false\"", "false")]
    public void Boolean_of_a_form_is_a_boolean(string json, string expected)
    {
        foreach (var name in (string[])["store", "logprobs", "parallel_tool_calls"])
        {
            var request = Read($$"""{"{{name}}":{{json}},"keep":{{json}}}""");

            Assert.Equal(expected, Encoding.UTF8.GetString(request.Parameters[name].Span));
            Assert.Equal(expected == "true", request.Keep);
            Assert.Empty(request.Unusable);
        }

        Assert.Equal(expected == "true" ? [] : (string[])["stream"], Read($$"""{"stream":{{json}}}""").Unusable);
    }

    [Theory]
    [InlineData("stream_options", """{ "include_usage" : "1" , "x":"1"}""", """{ "include_usage" : true , "x":"1"}""")]
    [InlineData("stream_options", """{"include_usage":0,"include_obfuscation":"false"}""",
        """{"include_usage":false,"include_obfuscation":false}""")]
    [InlineData("stream_options", """{"include_usage":"maybe"}""", """{"include_usage":"maybe"}""")]
    [InlineData("logit_bias", """{"50256":"-100","1":5}""", """{"50256":-100,"1":5}""")]
    [InlineData("tools", """[{"type":"function","function":{"name":"f","strict":"true","parameters":{"additionalProperties":"0"}}}]""",
        """[{"type":"function","function":{"name":"f","strict":true,"parameters":{"additionalProperties":false}}}]""")]
    [InlineData("tools", """[{"function":{"parameters":{"properties":{"strict":{"minLength":"2","additionalProperties":[]}}}}}]""",
        """[{"function":{"parameters":{"properties":{"strict":{"minLength":2,"additionalProperties":{}}}}}}]""")]
    [InlineData("response_format", """{"json_schema":{"strict":"","schema":{"default":{"strict":"1"}}}}""",
        """{"json_schema":{"strict":false,"schema":{"default":{"strict":"1"}}}}""")]
    [InlineData("tools", """[{"function":{"strict":"perhaps"}}]""", """[{"function":{"strict":"perhaps"}}]""")]
    public void Boolean_or_number_of_a_form_inside_a_parameter_is_one(string name, string json, string expected)
    {
        var request = Read($$"""{"{{name}}":{{json}}}""");

        Assert.Equal(expected, Encoding.UTF8.GetString(request.Parameters[name].Span));
    }

    [Theory]
    [InlineData("reasoning", """{"enabled":"1","exclude":"false","max_tokens":"2000","effort":"1"}""",
        """{"enabled":true,"exclude":false,"max_tokens":2000,"effort":"1"}""")]
    [InlineData("thinking", """{"type":"enabled","budget_tokens":"1024"}""", """{"type":"enabled","budget_tokens":1024}""")]
    [InlineData("chat_template_kwargs", """{"enable_thinking":"false"}""", """{"enable_thinking":false}""")]
    [InlineData("other", """{"enabled":"1"}""", """{"enabled":"1"}""")]
    public void Boolean_or_number_inside_a_parameter_of_known_servers_is_one(string name, string json, string expected)
    {
        var request = Read($$"""{"{{name}}":{{json}}}""", keepsUnknown: true);

        Assert.Equal(expected, Encoding.UTF8.GetString(request.UnknownParameters[name].Span));
    }

    [Theory]
    [InlineData("stop", """{"1":"a","3":"b"}""", """["a","b"]""")]
    [InlineData("stop", """{ "3" : "b", "1" : "\u00e9" }""", """["b","\u00e9"]""")]
    [InlineData("modalities", """{"1":"text"}""", """["text"]""")]
    [InlineData("tools", """{"2":{"type":"function"},"4":{"a":1}}""", """[{"type":"function"},{"a":1}]""")]
    [InlineData("tools", """{"a":{}}""", """{"a":{}}""")]
    [InlineData("tools", """{"type":"function","function":{"name":"f","parameters":[]}}""",
        """[{"type":"function","function":{"name":"f","parameters":{}}}]""")]
    [InlineData("tools", """{"function":{"name":"f"}}""", """[{"function":{"name":"f"}}]""")]
    [InlineData("tools", """{"f":{"type":"function","function":{"name":"f"}},"function":{"type":"function"}}""",
        """[{"type":"function","function":{"name":"f"}},{"type":"function"}]""")]
    [InlineData("functions", """{"name":"f","parameters":{"properties":[]}}""",
        """[{"name":"f","parameters":{"properties":{}}}]""")]
    [InlineData("functions", """{"f":{"name":"f"},"g":{"name":"g"}}""", """[{"name":"f"},{"name":"g"}]""")]
    [InlineData("tools", """[{"type":"function","function":{"name":"f","parameters":[]}}]""",
        """[{"type":"function","function":{"name":"f","parameters":{}}}]""")]
    [InlineData("functions", """[{"name":"f","parameters":{"type":"object","properties":[ ],"required":[]}}]""",
        """[{"name":"f","parameters":{"type":"object","properties":{},"required":[]}}]""")]
    [InlineData("tools", """{"1":{"function":{"parameters":{"properties":{"required":[],"x":{"items":[]}},"required":{"1":"x"}}}}}""",
        """[{"function":{"parameters":{"properties":{"required":{},"x":{"items":{}}},"required":["x"]}}}]""")]
    [InlineData("response_format", """{"json_schema":{"schema":{"$defs":[],"anyOf":{"1":{"properties":[]}}}}}""",
        """{"json_schema":{"schema":{"$defs":{},"anyOf":[{"properties":{}}]}}}""")]
    // The application's own data.
    [InlineData("response_format", """{"schema":{"enum":[{"properties":[]}],"default":{"items":[]},"const":[]}}""",
        """{"schema":{"enum":[{"properties":[]}],"default":{"items":[]},"const":[]}}""")]
    [InlineData("tools", """[ {"x":[],"properties":{"1":{"type":"string"}}} ]""",
        """[ {"x":[],"properties":{"1":{"type":"string"}}} ]""")]
    public void List_or_object_that_PHP_wrote_as_the_other_is_what_the_server_takes(
        string name, string json, string expected)
    {
        var request = Read($$"""{"{{name}}": {{json}} }""");

        Assert.Equal(expected, Encoding.UTF8.GetString(Assert.Single(request.Parameters).Value.Span));
        Assert.Empty(request.Unusable);
    }

    [Theory]
    [InlineData("top_p", "\"warm\"")]
    [InlineData("top_p", "\"0,5\"")]
    [InlineData("top_p", "\"NaN\"")]
    [InlineData("top_p", "\"0.5 0.6\"")]
    [InlineData("top_p", "\"\"")]
    [InlineData("top_p", "true")]
    [InlineData("seed", "{}")]
    [InlineData("stream", "false")]
    [InlineData("backend_url", "\"http://evil/\"")]
    [InlineData("langgraph_api_key", "\"secret\"")]
    public void Parameter_that_cannot_be_sent_is_named(string name, string json)
    {
        var request = Read($$"""{"{{name}}":{{json}}}""", keepsUnknown: true);

        Assert.Empty(request.Parameters);
        Assert.Empty(request.UnknownParameters);
        Assert.Equal([name], request.Unusable);
    }

    [Theory]
    [InlineData("""{"seed":null,"stop":null,"stream":true,"stream":null,"timestamp":1700000000}""")]
    [InlineData("""{"seed":5,"seed":null,"tools":[1],"tools":[]}""")]
    public void Null_and_what_the_daemon_does_anyway_are_nothing_to_warn_about(string json)
    {
        var request = Read(json);

        Assert.Empty(request.Parameters);
        Assert.Empty(request.Unusable);
        Assert.Empty(request.Unknown);
    }

    [Fact]
    public void Of_a_parameter_that_comes_twice_the_last_one_counts() => Assert.Equal("2",
        Encoding.UTF8.GetString(Assert.Single(Read("""{"se\u0065d":1,"seed":2}""").Parameters).Value.Span));

    [Fact]
    public void Unknown_fields_are_named_and_kept_only_for_a_backend_that_sends_them()
    {
        const string json = """{"top_k":5,"min_p":[],"top_k":null,"prompt":"p"}""";

        Assert.Equal(["top_k", "min_p"], Read(json).Unknown);
        Assert.Empty(Read(json).UnknownParameters);
        Assert.Equal([("top_k", "null"), ("min_p", "[]")], Read(json, keepsUnknown: true).UnknownParameters
            .Select(p => (p.Key, Encoding.UTF8.GetString(p.Value.Span))));
    }

    [Fact]
    public void Unknown_fields_are_bounded_in_number_and_the_first_that_is_left_out_is_named()
    {
        var json = string.Join(",", Enumerable.Range(0, 200_000).Select(i => $"\"k{i}\":{i}"));

        var request = Read("{" + json + ",\"k0\":\"last\"}", keepsUnknown: true);

        Assert.Equal(ParameterReader.MostUnknown, request.UnknownParameters.Count);
        Assert.Equal("\"last\"", Encoding.UTF8.GetString(request.UnknownParameters["k0"].Span));
        Assert.Equal($"k{ParameterReader.MostUnknown}", request.Unusable[0]);
        Assert.Equal(HandoffRequest.MostNoted, request.Unusable.Count);
        Assert.Equal(HandoffRequest.MostNoted, request.Unknown.Count);
    }

    [Fact]
    public void Every_field_that_the_daemon_knows_is_in_the_page_and_no_other()
    {
        var page = File.ReadAllText(Repository.PathOf("docs", "handoff.md"));
        string[] read = ["prompt", "messages", "system", "model", "max_tokens", "temperature", "user_id", "request_id",
            "backend", "response_headers", "test_pattern", "traceparent"];

        var listed = Row().Matches(page).SelectMany(row => Name().Matches(row.Groups[1].Value).Select(m => m.Groups[1].Value))
            .ToList();

        Assert.Empty(read.Concat(ChatParameters.All.Keys).Except(listed));
        // The fields of the answer's format, and of kept answers, have readers of their own.
        Assert.Empty(listed.Except(read).Except(ChatParameters.All.Keys)
            .Except(["format", "events", "keep", "resume", "last_event_id", "delivery"]));
    }

    [Fact]
    public void Example_of_the_page_is_read_whole()
    {
        var page = File.ReadAllText(Repository.PathOf("docs", "handoff.md"));

        var request = Read(page.Split("```text\n")[1].Split("```")[0], keepsUnknown: true);

        Assert.Equal(["tools", "max_completion_tokens"], request.Parameters.Keys);
        Assert.NotNull(request.Messages);
        Assert.NotNull(request.System);
        Assert.NotNull(request.UserId.Text);
        Assert.Empty(request.Unusable);
        Assert.Empty(request.Unknown);
    }

    [GeneratedRegex("^\\| (`.+?) \\|", RegexOptions.Multiline)]
    private static partial Regex Row();

    [GeneratedRegex("`([a-z_0-9]+)`")]
    private static partial Regex Name();

    private static HandoffRequest Read(string json, bool keepsUnknown = false)
    {
        Assert.True(HandoffRequestReader.TryRead(
            Encoding.UTF8.GetBytes(json), out var request, keepsUnknown: keepsUnknown));
        return request;
    }
}
