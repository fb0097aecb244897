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
    [InlineData("max_completion_tokens", "1e3", "1e3")]
    [InlineData("stop", "[ \"a\", \"\\u00e9\" ]", "[ \"a\", \"\\u00e9\" ]")]
    [InlineData("tools", "[{\"type\":\"function\"}]", "[{\"type\":\"function\"}]")]
    [InlineData("tool_choice", "{\"type\":\"function\"}", "{\"type\":\"function\"}")]
    [InlineData("tool_choice", "\"none\"", "\"none\"")]
    [InlineData("logprobs", "\"true\"", "\"true\"")]
    [InlineData("store", "false", "false")]
    public void Parameter_is_kept_as_it_is_but_a_number_loses_its_quotes(string name, string json, string expected)
    {
        var request = Read($$"""{"{{name}}": {{json}} }""");

        Assert.Equal(expected, Encoding.UTF8.GetString(Assert.Single(request.Parameters).Value.Span));
        Assert.Empty(request.Unusable);
        Assert.Empty(request.Unknown);
    }

    [Theory]
    [InlineData("top_p", "\"warm\"")]
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
