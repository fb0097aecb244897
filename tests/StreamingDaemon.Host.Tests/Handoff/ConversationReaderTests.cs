using System.Text;
using StreamingDaemon.Host.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

/// <summary>Messages are written here with short names: u, s (texts of the user and the system), c1 (the assistant
/// calls tool 1), c12 (it calls two), r1 (result of 1), r1! (a result without content), a! (an assistant's turn
/// whose calls cannot be read), u! (a turn without content), f and g (the older function call and its result), o (call 1 without its list),
/// and ! (neither object nor text).</summary>
public sealed class ConversationReaderTests
{
    private static readonly Dictionary<string, string> s_turns = new()
    {
        ["u"] = """{"role":"user","content":"u"}""",
        ["s"] = """{"role":"system","content":"s"}""",
        ["c1"] = """{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f"}}]}""",
        ["c12"] = """{"tool_calls":[{"id":"1"},{"id":"2"}],"content":"Wait","role":"assistant"}""",
        ["c?"] = """{"role":"assistant","tool_calls":[{"function":{"name":"f"}}]}""",
        ["r1"] = """{"role":"tool","tool_call_id":"1","content":"20"}""",
        ["r2"] = """{"role":"tool","tool_call_id":"2","content":[{"type":"text","text":"x"}]}""",
        ["r1!"] = """{"role":"tool","tool_call_id":"1","content":null}""",
        ["r2!"] = """{"role":"tool","tool_call_id":"2"}""",
        ["a!"] = """{"role":"assistant","content":null,"tool_calls":"cut"}""",
        ["u!"] = """{"role":"user","content":null}""",
        ["f"] = """{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}}""",
        ["g"] = """{"role":"function","name":"f","content":"20"}""",
        ["g!"] = """{"role":"function","name":"f","content":null}""",
        ["o"] = """{"role":"assistant","tool_calls":{"id":"1","function":{"name":"f","arguments":"{}"}}}""",
        ["!"] = "true",
    };

    [Theory]
    [InlineData("""{"role":"user","content":"x","name":"Ann","unknown":{"a":[1.0, 2]}}""")]
    [InlineData("""{ "role" : "developer" , "content" : "" }""")]
    [InlineData("""{"role":"oracle","content":"roles of other servers"}""")]
    [InlineData("""{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}""")]
    [InlineData("""{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}},{"type":"file","file":{"file_id":"f"}}]}""")]
    [InlineData("""{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}""")]
    [InlineData("""{"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{"name":"f","input":"x"}}]}""")]
    [InlineData("""{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}}""")]
    [InlineData("""{"role":"assistant","content":null,"refusal":"I cannot"}""")]
    [InlineData("""{"role":"assistant","audio":{"id":"audio_1"}}""")]
    [InlineData("""{"role":"tool","tool_call_id":"c","content":"20 \u00b0C \/ warm"}""")]
    [InlineData("""{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"20"}]}""")]
    public void Message_goes_on_byte_for_byte(string message)
    {
        var request = Read($"[{message}]");

        Assert.Equal($"[{message}]", TextOf(request));
        Assert.Empty(request.Unusable);
        Assert.True(request.HasPrompt);
    }

    [Theory]
    [InlineData("""{"role":"user"}""")]
    [InlineData("""{"role":"user","content":true}""")]
    [InlineData("""{"role":"user","content":[null,"",true]}""")]
    [InlineData("""{"role":"user","content":{"a":1}}""")]
    [InlineData("""{"role":"user","content":{}}""")]
    [InlineData("""{"role":"assistant","content":null,"tool_calls":{}}""")]
    [InlineData("""{"role":"user","content":[]}""")]
    [InlineData("""{"role":"assistant","content":null,"tool_calls":[]}""")]
    [InlineData("""{"role":"assistant","content":null,"refusal":"","audio":null}""")]
    [InlineData("""{"role":"user","tool_calls":[{"id":"1"}]}""")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("\"\"")]
    [InlineData("true")]
    public void Turn_that_says_nothing_is_left_out_and_named(string message)
    {
        var request = Read($$"""[{{message}},{"role":"user","content":"x"}]""");

        Assert.Equal("""[{"role":"user","content":"x"}]""", TextOf(request));
        Assert.Equal(["messages[0]"], request.Unusable);
        Assert.False(Read($"[{message}]").HasPrompt);
    }

    [Theory]
    [InlineData("""{"content":"x","z":1}""", """{"role":"user","content":"x","z":1}""")]
    [InlineData("""{ "content" : "x" , "role":null }""", """{"role":"user","content" : "x"}""")]
    [InlineData("""{"role":"","content":"x"}""", """{"role":"user","content":"x"}""")]
    [InlineData("""{"role":{"a":1},"content":[{"type":"x"}]}""", """{"role":"user","content":[{"type":"x"}]}""")]
    public void Turn_without_a_role_is_the_users(string message, string expected)
    {
        var request = Read($"[{message}]");

        Assert.Equal($"[{expected}]", TextOf(request));
        Assert.Empty(request.Unusable);
    }

    [Theory]
    [InlineData("""{"role":"user","content":42}""", """{"role":"user","content":"42"}""")]
    [InlineData("""{"role":"user","content":-1.50,"role":"tool"}""", """{"role":"tool","content":"-1.50"}""")]
    [InlineData("""{"role":"user","content":{"1":{"type":"text","text":"x"},"3":{"type":"y"}}}""",
        """{"role":"user","content":[{"type":"text","text":"x"},{"type":"y"}]}""")]
    [InlineData("""{"role":"assistant","content":null,"tool_calls":{"1":{"id":"1"}},"z":[]}""",
        """{"role":"assistant","content":null,"tool_calls":[{"id":"1"}],"z":[]}""")]
    [InlineData("""{"role":"assistant","content":"x","tool_calls":[]}""", """{"role":"assistant","content":"x"}""")]
    [InlineData("""{"role":"assistant","content":"x","tool_calls":null}""", """{"role":"assistant","content":"x"}""")]
    [InlineData("""{"role":"user","content":"x","name":null,"tool_call_id":null}""", """{"role":"user","content":"x"}""")]
    [InlineData("""{"role":"user","content":"x","name":"Ann","tool_call_id":null}""",
        """{"role":"user","content":"x","name":"Ann"}""")]
    [InlineData("""{"role":"tool","tool_call_id":"1","content":{"degrees": 20,"at":"K\u00f6ln"}}""",
        """{"role":"tool","tool_call_id":"1","content":"{\"degrees\": 20,\"at\":\"K\\u00f6ln\"}"}""")]
    [InlineData("""{"content":[{"city":"Bonn"},{"type":1}],"tool_call_id":"1","role":"tool"}""",
        """{"role":"tool","content":"[{\"city\":\"Bonn\"},{\"type\":1}]","tool_call_id":"1"}""")]
    [InlineData("""{"role":"tool","content":[]}""", """{"role":"tool","content":"[]"}""")]
    [InlineData("""{"role":"tool","content":{}}""", """{"role":"tool","content":"{}"}""")]
    [InlineData("""{"role":"tool","content":["a",1]}""", """{"role":"tool","content":"[\"a\",1]"}""")]
    [InlineData("""{"role":"function","name":"f","content":false}""", """{"role":"function","name":"f","content":"false"}""")]
    [InlineData("""{"role":"tool","content":{"1":{"type":"text","text":"x"}}}""",
        """{"role":"tool","content":[{"type":"text","text":"x"}]}""")]
    // One part without its list, texts in place of parts, and parts without a type.
    [InlineData("""{"role":"user","content":{"type":"text","text":"Hi"}}""",
        """{"role":"user","content":[{"type":"text","text":"Hi"}]}""")]
    [InlineData("""{"content":{"type":"image_url","image_url":{"url":"https:\/\/h\/a.png"}},"role":"user"}""",
        """{"role":"user","content":[{"type":"image_url","image_url":{"url":"https:\/\/h\/a.png"}}]}""")]
    [InlineData("""{"role":"user","content":{"text":"Hi"}}""",
        """{"role":"user","content":[{"type":"text","text":"Hi"}]}""")]
    [InlineData("""{"role":"user","content":["a\u00fc",7,null,"",{"text":"b","x":1},{"image_url":{"url":"u"},"type":null}]}""",
        """{"role":"user","content":[{"type":"text","text":"a\u00fc"},{"type":"text","text":"7"},{"type":"text","text":"b","x":1},{"type":"image_url","image_url":{"url":"u"}}]}""")]
    [InlineData("""{"role":"user","content":[{"type":"image_url","image_url":"https://h/a.png"},{"type":"x"}]}""",
        """{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://h/a.png"}},{"type":"x"}]}""")]
    // What no server takes is left to the server: nothing in it vanishes.
    [InlineData("""{"role":"user","content":["a",[{"type":"image_url"}],true]}""",
        """{"role":"user","content":[{"type":"text","text":"a"},[{"type":"image_url"}],true]}""")]
    [InlineData("""{"role":"user","content":{"0":"text"}}""",
        """{"role":"user","content":[{"type":"text","text":"text"}]}""")]
    [InlineData("\"Hi \\u00fc\"", """{"role":"user","content":"Hi \u00fc"}""")]
    [InlineData("42", """{"role":"user","content":"42"}""")]
    // Calls of tools whose arguments were decoded, and one call without its list.
    [InlineData("""{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":{"a":"\u00fc"}}}]}""",
        """{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"a\":\"\\u00fc\"}"}}]}""")]
    [InlineData("""{"role":"assistant","tool_calls":{"id":"1","function":{"arguments": [ ],"name":"f"}}}""",
        """{"role":"assistant","tool_calls":[{"id":"1","function":{"arguments": "{}","name":"f"}}]}""")]
    [InlineData("""{"role":"assistant","tool_calls":{"2":{"function":{"arguments":null}},"3":{"id":"2"}}}""",
        """{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}},{"id":"2"}]}""")]
    [InlineData("""{"role":"assistant","content":null,"function_call":{"name":"f","arguments":{"a":1}}}""",
        """{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{\"a\":1}"}}""")]
    public void Message_whose_form_servers_refuse_is_sent_in_another(string message, string expected)
    {
        var request = Read($"[{message}]");

        Assert.Equal($"[{expected}]", TextOf(request));
        Assert.Empty(request.Unusable);
    }

    [Theory]
    [InlineData("\"What is \\u00fc?\"", "What is \\u00fc?")]
    [InlineData("42", "42")]
    [InlineData("\"[{\\\"role\\\":\\\"system\\\"}]\"", "[{\\\"role\\\":\\\"system\\\"}]")]
    public void Text_in_place_of_messages_is_the_users_and_is_never_read_as_JSON(string json, string content)
    {
        var request = Read(json);

        Assert.Equal($$"""[{"role":"user","content":"{{content}}"}]""", TextOf(request));
        Assert.Empty(request.Unusable);
    }

    [Theory]
    [InlineData("""{"role":"user","content":"x"}""", """[{"role":"user","content":"x"}]""")]
    [InlineData("""{ "content" : {"type":"text","text":"x"} }""",
        """[{"role":"user","content" : [{"type":"text","text":"x"}]}]""")]
    public void One_message_without_its_list_is_the_conversation(string json, string expected)
    {
        var request = Read(json);

        Assert.Equal(expected, TextOf(request));
        Assert.Empty(request.Unusable);
    }

    [Fact]
    public void Tool_s_data_with_bytes_that_are_no_text_is_sent_with_replacements()
    {
        var json = Encoding.UTF8.GetBytes("""{"messages":[{"role":"tool","content":{"city":"K?ln"}}]}""");
        json[Array.IndexOf(json, (byte)'?')] = 0xF6;

        Assert.True(HandoffRequestReader.TryRead(json, out var request));

        Assert.Equal("[{\"role\":\"tool\",\"content\":\"{\\\"city\\\":\\\"K\\ufffdln\\\"}\"}]", TextOf(request));
    }

    [Theory]
    [InlineData("""{"0":U,"2":S}""", "u s")]
    [InlineData("""{ "7" : S , "-3" : U }""", "s u")]
    [InlineData("""{"1":U,"2":null,"3":U}""", "u u", "messages[1]")]
    [InlineData("""{"a":U,"1":U}""", null, "messages")]
    [InlineData("""{"role":"user"}""", null, "messages")]
    [InlineData("\"\"", null, "messages")]
    [InlineData("true", null, "messages")]
    [InlineData("null", null)]
    [InlineData("{}", null, "messages")]
    public void Messages_whose_keys_have_gaps_are_the_conversation_in_their_order(
        string json, string? expected, params string[] unusable)
    {
        var request = Read(json.Replace("U", s_turns["u"], StringComparison.Ordinal)
            .Replace("S", s_turns["s"], StringComparison.Ordinal));

        Assert.Equal(expected is null ? null : ArrayOf(expected), TextOf(request));
        Assert.Equal(unusable, request.Unusable);
    }

    [Theory]
    [InlineData("u c1 r1 u", "u c1 r1 u")]
    [InlineData("u c12 r2 r1 u", "u c12 r2 r1 u")]
    // What the application itself sends alone is not the daemon's to judge.
    [InlineData("r1 u", "r1 u")]
    [InlineData("c12 r1 u", "c12 r1 u")]
    [InlineData("u! r1 u c1", "r1 u c1")]
    // A result that cannot be sent takes its call along, and the other results of that call.
    [InlineData("u c1 r1! u", "u u")]
    [InlineData("u c12 r1! r2 u", "u u")]
    [InlineData("u c12 r1 r2! u c1 r1", "u u c1 r1")]
    [InlineData("u f g! u", "u u")]
    [InlineData("u c? r1! u", "u u")]
    // A call that cannot be read takes its results along.
    [InlineData("u a! r1 r2 u", "u u")]
    [InlineData("u ! r1 u", "u u")]
    [InlineData("! ! r1 c1 r1", "c1 r1")]
    // What cannot be read may have been the missing result.
    [InlineData("u c1 ! u", "u u")]
    [InlineData("u c12 r1 ! u", "u u")]
    [InlineData("u f !", "u")]
    [InlineData("u o ! u", "u u")]
    [InlineData("u c1 !", "u")]
    // Nothing is missing: only the turn itself goes.
    [InlineData("u c1 r1 ! u", "u c1 r1 u")]
    [InlineData("u c12 r1 ! r2 u", "u c12 r1 r2 u")]
    [InlineData("u f g ! u", "u f g u")]
    [InlineData("u c1 r1 r2! u", "u c1 r1 u")]
    [InlineData("u c1 u! r1 u", "u c1 r1 u")]
    [InlineData("c1 r1 a! c1 r1", "c1 r1 c1 r1")]
    [InlineData("u u! !", "u")]
    public void Turn_that_cannot_be_sent_never_orphans_its_partner(string conversation, string expected)
    {
        var request = Read(ArrayOf(conversation));

        Assert.Equal(ArrayOf(expected), TextOf(request));
        Assert.Equal(conversation.Split(' ').Length - expected.Split(' ').Length, request.Unusable.Count);
    }

    [Theory]
    [InlineData("u s", true)]
    [InlineData("u c1", false)]
    public void System_turn_is_noticed(string conversation, bool expected) =>
        Assert.Equal(expected, Read(ArrayOf(conversation)).Messages!.HasInstructions);

    [Fact]
    public void System_turn_that_is_left_out_gives_no_instructions() => Assert.False(
        Read("""[{"role":"system"},{"role":"user","content":"x"}]""").Messages!.HasInstructions);

    [Fact]
    public void Half_of_a_pair_and_bytes_that_are_no_text_do_not_cost_the_conversation()
    {
        byte[] data = [.. "{\"messages\":[{\"role\":\"user\",\"content\":\"a\\ud800"u8, 0xff, .. "\"}]}"u8];

        Assert.True(HandoffRequestReader.TryRead(data, out var request));

        Assert.Equal("[{\"role\":\"user\",\"content\":\"a\\ufffd\ufffd\"}]", TextOf(request));
    }

    [Fact]
    public void Conversation_of_a_client_that_is_refused_is_not_kept()
    {
        Assert.True(HandoffRequestReader.TryRead(
            Encoding.UTF8.GetBytes($$"""{"messages":{{ArrayOf("u")}},"tools":[1],"top_k":1,"user_id":7}"""),
            out var request, withPrompt: false, keepsUnknown: true));

        Assert.Null(request.Messages);
        Assert.Empty(request.Parameters);
        Assert.Empty(request.UnknownParameters);
        Assert.Equal(7, request.UserId.Number);
    }

    private static string ArrayOf(string conversation) =>
        $"[{string.Join(',', conversation.Split(' ').Select(turn => s_turns[turn]))}]";

    private static string? TextOf(HandoffRequest request) =>
        request.Messages is { } messages ? Encoding.UTF8.GetString(messages.Json.Span) : null;

    private static HandoffRequest Read(string messages)
    {
        Assert.True(HandoffRequestReader.TryRead(Encoding.UTF8.GetBytes($$"""{"messages":{{messages}}}"""), out var request));
        return request;
    }
}
