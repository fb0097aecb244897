using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

public sealed class HandoffRequestReaderTests
{
    [Fact]
    public void Every_field_is_read()
    {
        var request = Read("""
            {"user_id": 9007199254740993, "prompt": "p", "model": "m", "max_tokens": 5, "temperature": 0.25,
             "system": "s", "request_id": "r-1", "test_pattern": "short", "backend": "mock",
             "messages": [{"role":"system","content":"a"},{"content":"b"}],
             "response_headers": {"X-One": "1"}, "timestamp": 1, "backend_url": "http://evil/"}
            """);

        Assert.Equal(9007199254740993, request.UserId.Number);
        Assert.Equal("p", request.Prompt);
        Assert.Equal("m", request.Model);
        Assert.Equal(5, request.MaxTokens);
        Assert.Equal(0.25, request.Temperature);
        Assert.Equal("s", request.System);
        Assert.Equal("r-1", request.RequestId);
        Assert.Equal("short", request.TestPattern);
        Assert.Equal("mock", request.Backend);
        Assert.Equal("""[{"role":"system","content":"a"},{"role":"user","content":"b"}]""", MessagesOf(request));
        Assert.Equal("X-One: 1\r\n", Encoding.UTF8.GetString(request.ResponseHeaders.Span));
    }

    [Theory]
    [InlineData("""{"prompt":["a",{"type":"text","text":"b"},{"role":"user","content":"c"}]}""", "a\n\nb\n\nc")]
    [InlineData("""{"prompt":{"content":"a","role":null,"annotations":[]}}""", "a")]
    // An image or a role must not vanish.
    [InlineData("""{"prompt":[{"text":"describe","image_url":"https://h/a.png"}]}""", null)]
    [InlineData("""{"prompt":[{"type":"input_image","text":"x"}]}""", null)]
    [InlineData("""{"prompt":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}""", null)]
    public void Prompt_of_parts_is_their_text_if_they_hold_nothing_else(string json, string? expected)
    {
        var request = Read(json);

        Assert.Equal(expected, request.Prompt);
        Assert.Equal(expected is null ? ["prompt"] : [], request.Unusable);
    }

    [Theory]
    [InlineData("""{"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]}""", "a")]
    [InlineData("""{"system":{"role":"system","content":"a"}}""", "a")]
    [InlineData("""{"system":{"role":"user","content":"a"}}""", null)]
    public void System_text_of_parts_is_read_as_the_prompt_is(string json, string? expected) =>
        Assert.Equal(expected, Read(json).System);

    /// <summary>The stream holds them until its end, and its memory budget does not count them.</summary>
    [Theory]
    [InlineData("model")]
    [InlineData("backend")]
    [InlineData("format")]
    [InlineData("test_pattern")]
    public void Name_of_more_than_1024_characters_is_unusable(string field)
    {
        Assert.Empty(Read($$"""{"{{field}}":"{{new string('x', 1024)}}"}""").Unusable);
        var request = Read($$"""{"{{field}}":"{{new string('x', 1025)}}"}""");

        Assert.Equal([field], request.Unusable);
        Assert.All([request.Model, request.Backend, request.Format, request.TestPattern], Assert.Null);
    }

    [Fact]
    public void Unknown_fields_are_noted_with_128_characters_of_their_names_at_most()
    {
        var request = Read($$"""{"{{new string('x', 50_000)}}":1}""");

        Assert.Equal([new string('x', 128)], request.Unknown);
    }

    [Theory]
    [InlineData("""{"max_tokens":"100"}""", 100L)]
    [InlineData("""{"max_tokens":0}""", null)]
    [InlineData("""{"max_tokens":-1}""", null)]
    [InlineData("""{"max_tokens":"4096.0"}""", 4096L)]
    [InlineData("""{"max_tokens":4096.0}""", 4096L)]
    [InlineData("""{"max_tokens":1.5}""", null)]
    [InlineData("""{"max_tokens":99999999999}""", 99999999999)]
    [InlineData("""{"max_tokens":9223372036854775807}""", long.MaxValue)]
    [InlineData("""{"max_tokens":9.2233720368547758e+18}""", null)]
    [InlineData("""{"max_tokens":99999999999999999999}""", null)]
    [InlineData("""{"max_tokens":[]}""", null)]
    public void Max_tokens_is_positive_or_absent_and_named(string json, long? expected)
    {
        var request = Read(json);

        Assert.Equal(expected, request.MaxTokens);
        Assert.Equal(expected is null ? ["max_tokens"] : [], request.Unusable);
    }

    [Theory]
    [InlineData("""{"temperature":1}""", 1.0)]
    [InlineData("""{"temperature":"0.7"}""", 0.7)]
    [InlineData("""{"temperature":" .7 "}""", 0.7)]
    [InlineData("""{"temperature":"warm"}""", null)]
    [InlineData("""{"temperature":1e999}""", null)]
    public void Temperature_is_finite_or_absent(string json, double? expected) =>
        Assert.Equal(expected, Read(json).Temperature);

    [Theory]
    [InlineData("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true)]
    [InlineData("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true)]
    [InlineData("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false)]
    [InlineData("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false)]
    [InlineData("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false)]
    [InlineData("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false)]
    [InlineData("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false)]
    [InlineData("00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", false)]
    [InlineData("4bf92f3577b34da6a3ce929d0e0e4736", false)]
    public void Traceparent_is_one_of_trace_context_or_unusable(string value, bool isValid)
    {
        var request = Read($$"""{"traceparent":"{{value}}"}""");

        Assert.Equal(isValid ? value : null, request.Traceparent);
        Assert.Equal(isValid ? [] : ["traceparent"], request.Unusable);
    }

    [Fact]
    public void Field_of_a_wrong_type_does_not_cost_the_others()
    {
        var request = Read("""
            {"model":{"x":[{}]},"prompt":["no",{"type":"image_url"}],"messages":{"role":"user"},"response_headers":[1,2],
             "system":true,"test_pattern":false,"backend":null,"user_id":8}
            """);

        Assert.Equal(8, request.UserId.Number);
        Assert.Null(request.Model);
        Assert.Null(request.Prompt);
        Assert.Null(request.Messages);
        Assert.False(request.HasPrompt);
    }

    [Theory]
    [InlineData("""["a"]""", "a")]
    [InlineData("""["a\n",7,{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]""", "a\n\n\n7\n\nb")]
    [InlineData("""{"1":"a","3":{"text":"b"}}""", "a\n\nb")]
    [InlineData("""{"type":"text","text":"a"}""", "a")]
    [InlineData("""{"role":null,"content":"a"}""", "a")]
    // An image must not vanish from a prompt, nor one text from a list.
    [InlineData("""["a",{"type":"image_url","image_url":{"url":"u"}}]""", null)]
    [InlineData("""["a",null]""", null)]
    [InlineData("""["a",["b"]]""", null)]
    [InlineData("""[{"type":"text","text":{"a":1}}]""", null)]
    public void Prompt_and_system_may_be_lists_or_parts_of_texts(string json, string? expected)
    {
        foreach (var field in (string[])["prompt", "system"])
        {
            var request = Read($$"""{"{{field}}":{{json}},"user_id":7}""");

            Assert.Equal(expected, field == "prompt" ? request.Prompt : request.System);
            Assert.Equal(expected is null ? [field] : [], request.Unusable);
            Assert.Equal(7, request.UserId.Number);
        }
    }

    [Fact]
    public void Text_that_JSON_NUMERIC_CHECK_made_a_number_is_a_text()
    {
        var request = Read("""{"prompt":42,"system":-1.50,"model":4,"request_id":[1],"user_id":7}""");

        Assert.Equal(("42", "-1.50", "4"), (request.Prompt, request.System, request.Model));
        Assert.Equal(["request_id"], request.Unusable);
    }

    [Theory]
    [InlineData("""{"Access-Control-Max-Age":86400,"X-A":"b"}""", "Access-Control-Max-Age: 86400|X-A: b|")]
    [InlineData("""{"Set-Cookie":{"0":"a=1","2":"b=2"}}""", "Set-Cookie: a=1|Set-Cookie: b=2|")]
    [InlineData("""["X-A: b","X-C:d:e"]""", "X-A: b|X-C: d:e|")]
    [InlineData("""{"0":"X-A: b","2":"Content-Type: text/html"}""", "X-A: b|", true)]
    [InlineData("""{"0":["a"],"1":5,"2":"X-A: b"}""", "0: a|1: 5|X-A: b|")]
    [InlineData("""["no header",5,"X-A: b\r\nX-B: c","X-D: e"]""", "X-D: e|", true)]
    [InlineData("""{"X-A":true,"X-B":null}""", "", true)]
    public void Response_headers_of_PHP_are_read(string json, string lines, bool isNamed = false)
    {
        var request = Read($$"""{"response_headers":{{json}}}""");

        Assert.Equal(lines.Replace("|", "\r\n", StringComparison.Ordinal),
            Encoding.UTF8.GetString(request.ResponseHeaders.Span));
        Assert.Equal(isNamed ? ["response_headers"] : [], request.Unusable);
    }

    [Fact]
    public void Events_whose_keys_have_gaps_are_read() => Assert.Equal(
        DeltaKinds.Reasoning | DeltaKinds.Usage, Read("""{"events":{"0":"reasoning","2":"usage"}}""").Events);

    [Fact]
    public void Messages_of_wrong_types_are_left_out_and_the_others_kept()
    {
        var request = Read("""
            {"messages":[true,"",null,[],{"role":"user"},{"role":"user","content":[["parts"]]},
             {"role":5,"content":"kept","extra":{"a":1}}]}
            """);

        Assert.Equal("""[{"role":"user","content":"kept","extra":{"a":1}}]""", MessagesOf(request));
    }

    [Fact]
    public void Fields_that_cannot_be_used_are_named_once_each_and_the_first_of_many()
    {
        var request = Read("""
            {"messages":[{"role":"assistant","content":null},{"role":"user","content":"plain"},true],
             "max_tokens":0,"user_id":{},"temperature":null,"model":true,"prompt":{},"prompt":[],"backend":"",
             "response_headers":{"X-A":"1","Cache-Control":"no-store"}}
            """);

        Assert.Equal("""[{"role":"user","content":"plain"}]""", MessagesOf(request));
        Assert.Equal(["messages[0]", "messages[2]", "max_tokens", "user_id", "model", "prompt", "response_headers"],
            request.Unusable);
        var many = string.Join(",", Enumerable.Repeat("false", 100));
        Assert.Equal(HandoffRequest.MostNoted, Read($$"""{"messages":[{{many}}],"model":false}""").Unusable.Count);
    }

    [Theory]
    [InlineData("response_headers", "[]", false)]
    [InlineData("response_headers", "[ ]", false)]
    [InlineData("response_headers", "[[]]", true)]
    [InlineData("response_headers", "{}", false)]
    [InlineData("messages", "[]", false)]
    [InlineData("messages", "{}", true)]
    [InlineData("tools", "[]", false)]
    [InlineData("metadata", "[]", false)]
    [InlineData("top_p", "[]", false)]
    [InlineData("top_p", "[1]", true)]
    public void Empty_array_of_PHP_is_nothing_to_warn_about(string field, string json, bool isNamed)
    {
        var request = Read($$"""{"{{field}}":{{json}},"prompt":"p","user_id":7}""");

        Assert.Equal(isNamed ? [field] : [], request.Unusable);
        Assert.Empty(request.Parameters);
        Assert.Equal("p", request.Prompt);
        Assert.Equal(7, request.UserId.Number);
    }

    [Theory]
    [InlineData("\"\\ud83d\\udc4b\"", "👋")]
    [InlineData("\"a\\ud800b\"", "a\ufffdb")]
    [InlineData("\"\\udc00\\n\\t\\\"\\/\"", "\ufffd\n\t\"/")]
    public void Escapes_are_decoded_and_lone_surrogates_replaced(string json, string expected) =>
        Assert.Equal(expected, Read($$"""{"prompt":{{json}}}""").Prompt);

    [Fact]
    public void Bytes_that_are_no_utf8_are_replaced()
    {
        byte[] data = [.. "{\"prompt\":\"a"u8, 0xff, 0xc3, .. "b\"}"u8];

        Assert.True(HandoffRequestReader.TryRead(data, out var request));
        Assert.Equal("a\ufffd\ufffdb", request.Prompt);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("""{"a":1,}""")]
    [InlineData("{'a':1}")]
    [InlineData("null")]
    [InlineData("\"text\"")]
    [InlineData("{} {}")]
    [InlineData("""{"a":"\x"}""")]
    public void What_is_no_json_object_is_malformed(string json) =>
        Assert.False(HandoffRequestReader.TryRead(Encoding.UTF8.GetBytes(json), out _));

    [Fact]
    public void Nesting_without_end_is_malformed_and_harmless()
    {
        var json = "{\"a\":" + new string('[', 100_000);

        Assert.False(HandoffRequestReader.TryRead(Encoding.UTF8.GetBytes(json), out _));
    }

    [Trait("Takes", "Long")]
    [Theory]
    [InlineData("\"k{0}\":{0}")]
    [InlineData("\"prompt\":{0},\"prompt\":\"last\"")]
    [InlineData("\"messages\":[{0}],\"prompt\":\"last\"")]
    public void Two_hundred_thousand_keys_are_read_through_to_the_last(string member)
    {
        var members = string.Join(",", Enumerable.Range(0, 200_000)
            .Select(i => member.Replace("{0}", $"{i}", StringComparison.Ordinal)));

        var request = Read($$"""{{{members}},"user_id":7}""");

        Assert.Equal(7, request.UserId.Number);
        Assert.Equal(member.Contains("last", StringComparison.Ordinal) ? "last" : null, request.Prompt);
    }

    [Theory]
    [InlineData(65)]
    [InlineData(500)]
    public void Schema_as_deep_as_PHP_nests_is_kept(int depth)
    {
        var schema = string.Concat(Enumerable.Repeat("{\"p\":", depth)) + "1" + new string('}', depth);

        var request = Read($$"""{"prompt":"p","response_format":{{schema}},"messages":[{"content":"x","deep":{{schema}}},true]}""");

        Assert.Equal(schema, Encoding.UTF8.GetString(request.Parameters["response_format"].Span));
        Assert.Contains(schema, MessagesOf(request), StringComparison.Ordinal);
    }

    [Fact]
    public void Ten_thousand_levels_that_are_closed_again_are_malformed_and_harmless()
    {
        var json = $$"""{"prompt":"p","deep":{{new string('[', 10_000)}}{{new string(']', 10_000)}}}""";

        Assert.False(HandoffRequestReader.TryRead(Encoding.UTF8.GetBytes(json), out _));
    }

    [Fact]
    public void Two_hundred_thousand_unknown_fields_cost_the_known_ones_nothing()
    {
        var json = "{" + string.Concat(Enumerable.Range(0, 200_000).Select(i => $"\"k{i}\":{i},")) + "\"user_id\":7}";

        Assert.Equal(7, Read(json).UserId.Number);
    }

    [Fact]
    public void Of_a_field_that_comes_twice_the_last_one_counts()
    {
        var request = Read("""
            {"prompt":"a","prompt":"b","messages":[{"role":"user","content":"x","content":"y"}],
             "response_headers":{"X-A":"1"},"response_headers":{"X-B":"2"}}
            """);

        Assert.Equal("b", request.Prompt);
        Assert.Equal("""[{"role":"user","content":"x","content":"y"}]""", MessagesOf(request));
        Assert.Equal("X-B: 2\r\n", Encoding.UTF8.GetString(request.ResponseHeaders.Span));
    }

    [Theory]
    [InlineData("0", 0)]
    [InlineData("17", 17)]
    [InlineData("17.0", 17)]
    [InlineData("\"17\"", 17)]
    [InlineData("\" 17 \"", 17)]
    [InlineData("\"\"", 0)]
    [InlineData("null", 0)]
    [InlineData("99999999999999999999", int.MaxValue)]
    [InlineData("\"99999999999999999999\"", int.MaxValue)]
    [InlineData("-1", 0, false)]
    [InlineData("1.5", 0, false)]
    [InlineData("\"-1\"", 0, false)]
    [InlineData("\"1e3\"", 0, false)]
    [InlineData("true", 0, false)]
    [InlineData("[1]", 0, false)]
    [InlineData("{\"a\":1}", 0, false)]
    public void Last_event_id_is_a_number_of_an_event_or_named_as_unusable(string json, int id, bool isUsable = true)
    {
        var request = Read($$"""{"resume":"a","last_event_id":{{json}},"user_id":7}""");

        Assert.Equal(id, request.LastEventId);
        Assert.Equal(isUsable ? [] : (string[])["last_event_id"], request.Unusable);
        Assert.Equal(7, request.UserId.Number);
    }

    [Theory]
    [InlineData("a b", "a_b")]
    [InlineData("\u65e5", "\u672c")]
    [InlineData("a\\u0000", "a\\u0001")]
    public void Two_request_ids_stay_two_however_odd_they_are(string one, string other)
    {
        var first = Read($$"""{"request_id":"{{one}}"}""").RequestId;

        Assert.NotEqual(first, Read($$"""{"request_id":"{{other}}"}""").RequestId);
        // Also if they differ only behind what is kept of a long one.
        var start = new string('x', 300);
        Assert.NotEqual(Read($$"""{"request_id":"{{start}}{{one}}"}""").RequestId,
            Read($$"""{"request_id":"{{start}}{{other}}"}""").RequestId);
        // What a browser got, it can name.
        Assert.Equal(first, Read($$"""{"resume":"{{one}}"}""").Resume);
        Assert.Equal(first, Read($$"""{"resume":"{{first}}"}""").Resume);
        Assert.Equal(first, Read($$"""{"stop":"{{one}}"}""").Stop);
    }

    [Fact]
    public void Request_ids_are_made_safe_and_missing_ones_are_unique()
    {
        Assert.Matches("^a_b_c__-[0-9a-f]{16}$", Read("""{"request_id":"a b\"c\r\n"}""").RequestId);
        Assert.Equal(RequestId.MaxLength, Read($$"""{"request_id":"{{new string('x', 500)}}"}""").RequestId.Length);
        Assert.Equal("17", Read("""{"request_id":17}""").RequestId);
        Assert.NotEqual(Read("{}").RequestId, Read("{}").RequestId);
    }

    [Fact]
    public void Response_headers_are_bounded_in_number_and_size()
    {
        var many = string.Join(",", Enumerable.Range(0, 100).Select(i => $"\"X-{i}\":\"v\""));
        var large = string.Join(",", Enumerable.Range(0, 60).Select(i => $"\"X-{i}\":\"{new string('v', 1000)}\""));

        Assert.Equal(64, Lines(many));
        Assert.InRange(Lines(large), 1, 16);
    }

    [Fact]
    public void Random_bytes_and_mutated_documents_never_throw()
    {
        var random = new Random(42);
        var seed = Encoding.UTF8.GetBytes("""
            {"user_id":"1","prompt":"a\ud83d\udc4b","messages":[{"role":"user","content":"x"}],"max_tokens":1e2,
             "temperature":"0.1","response_headers":{"X-A":"b"},"request_id":"r","system":"s"}
            """);
        for (var i = 0; i < 50_000; i++)
        {
            var data = seed.ToArray();
            for (var m = random.Next(1, 8); m > 0; m--)
                data[random.Next(data.Length)] = (byte)random.Next(256);
            HandoffRequestReader.TryRead(data.AsSpan(0, random.Next(data.Length + 1)), out var request);
            Assert.NotEmpty(request.RequestId);
        }
    }

    [Fact]
    public void Escapes_are_the_minimal_ones()
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();

        ServerSentEvents.WriteContent(output, "\"\\/\n\r\t\b\f\0\u001f\u007f'<ü👋"u8);

        Assert.Equal(
            "data: {\"content\":\"\\\"\\\\/\\n\\r\\t\\u0008\\u000c\\u0000\\u001f\u007f'<ü👋\"}\n\n",
            Encoding.UTF8.GetString(output.WrittenSpan));
    }

    private static int Lines(string headers) =>
        Encoding.UTF8.GetString(Read("{\"response_headers\":{" + headers + "}}").ResponseHeaders.Span).Count('\n');

    private static string? MessagesOf(HandoffRequest request) =>
        request.Messages is { } messages ? Encoding.UTF8.GetString(messages.Json.Span) : null;

    private static HandoffRequest Read(string json)
    {
        Assert.True(HandoffRequestReader.TryRead(Encoding.UTF8.GetBytes(json), out var request));
        return request;
    }
}
