using System.Text;
using System.Text.Json;

namespace StreamingDaemon.ApacheTests;

/// <summary>What PHP and httpd set for the client reaches it with the stream.</summary>
public sealed class ResponseHeaderTests(SharedServers servers)
{
    private const string Prompt = """{"prompt":"hello"}""";

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Cookies_and_headers_of_php_come_with_the_stream(Stack stack)
    {
        var apache = servers[stack];
        string answer = Get(apache, Prompt, "&session=1", "Set-Cookie: a=1; Path=/; HttpOnly", "Set-Cookie: b=2",
            "Access-Control-Allow-Origin: https://site.example", "X-Text: Zürich \"quoted\" \\ \t.");

        Expect.WholeStream(answer);
        Expect.NoHandoffHeaders(answer);
        string head = answer[..answer.ReplaceLineEndings("\n").IndexOf("\n\n", StringComparison.Ordinal)];
        Assert.Matches(@"(?m)^Set-Cookie: PHPSESSID=[\w,-]+; path=/", head);
        Assert.Contains("Set-Cookie: a=1; Path=/; HttpOnly", head, StringComparison.Ordinal);
        Assert.Contains("Set-Cookie: b=2", head, StringComparison.Ordinal);
        Assert.Contains("Access-Control-Allow-Origin: https://site.example", head, StringComparison.Ordinal);
        Assert.Contains("X-Text: Zürich \"quoted\" \\ \t.", head, StringComparison.Ordinal);
        // The daemon's own, once; and nothing about a body or a cache that is PHP's.
        Assert.Single(head.Split('\n'), line => line.StartsWith("Content-Type: ", StringComparison.Ordinal));
        Assert.Single(head.Split('\n'), line => line.StartsWith("Cache-Control: ", StringComparison.Ordinal));
        foreach (string name in new[] { "Expires", "Pragma", "X-Powered-By", "Content-Length" })
            Assert.DoesNotContain(name, head, StringComparison.OrdinalIgnoreCase);
    }

    [Theory, MemberData(nameof(Both))]
    public void Handoff_s_own_headers_win_and_cookies_of_both_are_sent(Stack stack)
    {
        string answer = Get(servers[stack], """
            {"response_headers":{"x-one":"handoff","SET-cookie":["h=1"],"X-Two":"two"},"prompt":"hello"}
            """.Trim(), "", "X-One: response", "X-Three: three", "Set-Cookie: r=1");

        Expect.WholeStream(answer);
        foreach (string line in new[] { "x-one: handoff", "X-Two: two", "X-Three: three" })
            Assert.Contains(line, answer, StringComparison.Ordinal);
        Assert.DoesNotContain("X-One: response", answer, StringComparison.Ordinal);
        Assert.Contains("set-cookie: h=1", answer, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("set-cookie: r=1", answer, StringComparison.OrdinalIgnoreCase);
    }

    public static TheoryData<string, string> Merges => new()
    {
        { "{}", """{"response_headers":{"X-A":["1","2"],"Set-Cookie":["c=3"]}}""" },
        { " { } ", """ { "response_headers":{"X-A":["1","2"],"Set-Cookie":["c=3"]}} """.TrimEnd() },
        {
            """{"a":[1,{"response_headers":{}}],"b":"}\"{"}""",
            """{"a":[1,{"response_headers":{}}],"b":"}\"{","response_headers":{"X-A":["1","2"],"Set-Cookie":["c=3"]}}"""
        },
        { """{"response_headers":[],"z":1}""", """{"response_headers":{"X-A":["1","2"],"Set-Cookie":["c=3"]},"z":1}""" },
        { """{"response_headers":null}""", """{"response_headers":{"X-A":["1","2"],"Set-Cookie":["c=3"]}}""" },
        { """{"response_headers":{}}""", """{"response_headers":{"X-A":["1","2"],"Set-Cookie":["c=3"]}}""" },
        {
            """{"response_headers":{"x-a":"9"},"z":1}""",
            """{"response_headers":{"x-a":"9","Set-Cookie":["c=3"]},"z":1}"""
        },
        {
            """{"response_headers":{"Set-Cookie":"c=1","X-A":"9"}}""",
            """{"response_headers":{"Set-Cookie":["c=1","c=3"],"X-A":"9"}}"""
        },
        {
            """{"response_headers":{"Set-Cookie":["c=1","c=2"],"X-A":null}}""",
            """{"response_headers":{"Set-Cookie":["c=1","c=2","c=3"],"X-A":null}}"""
        },
        {
            """{"response_headers":{"Set-Cookie":[],"X-A":"\"}"}}""",
            """{"response_headers":{"Set-Cookie":["c=3"],"X-A":"\"}"}}"""
        },
        // The last of a name counts.
        {
            """{"response_headers":{"X-A":"1"},"response_headers":{"X-B":"2"}}""",
            """{"response_headers":{"X-A":"1"},"response_headers":{"X-B":"2","X-A":["1","2"],"Set-Cookie":["c=3"]}}"""
        },
        // What is no object, or has something else there, is the daemon's to refuse or to note.
        { "text", "text" },
        { "[1]", "[1]" },
        { "{\"a\":1", "{\"a\":1" },
        { "{\"a\":\"x", "{\"a\":\"x" },
        { "{\"a\"}", "{\"a\"}" },
        { "{\"a\":}", "{\"a\":}" },
        { "{\"a\":1}}", "{\"a\":1}}" },
        { "{\"a\":1} x", "{\"a\":1} x" },
        { "{\"a\":1,}", "{\"a\":1,}" },
        { """{"response_headers":"X-A: 1"}""", """{"response_headers":"X-A: 1"}""" },
        { """{"response_headers":{"X-A"}}""", """{"response_headers":{"X-A"}}""" },
    };

    [Theory, MemberData(nameof(Merges))]
    public void Headers_are_added_to_the_data_and_nothing_else_changes(string data, string expected)
    {
        var apache = servers[Stack.PreforkWithModPhp];
        string socket = apache.SocketDirectory + "/merge.sock";
        using var listener = new HandoffListener(socket);
        using var curl = Curl.Start("-g", Url(apache, socket, data, "", "X-A: 1", "X-A: 2", "Set-Cookie: c=3"));
        string sent = Encoding.UTF8.GetString(listener.Serve("served"));
        curl.WaitForExit(Wait.Limit);

        Assert.Equal(expected.TrimStart(), sent);
        if (expected != data && !expected.Contains("response_headers\":{\"X-A\":\"1\"},", StringComparison.Ordinal))
            JsonDocument.Parse(sent).Dispose();
    }

    [Theory]
    [InlineData("", new[] { "X-A", "X-B", "Vary" })]
    [InlineData("SocketHandoffForwardHeaders All", new[] { "X-A", "X-B", "Vary" })]
    [InlineData("SocketHandoffForwardHeaders None", new string[0])]
    [InlineData("SocketHandoffForwardHeaders x-a vary", new[] { "X-A", "Vary" })]
    [InlineData("SocketHandoffForwardHeaders X-*", new[] { "X-A", "X-B", "X-Powered-By" })]
    [InlineData("SocketHandoffForwardHeaders X-A Expires Content-Type Content-Language", new[] { "X-A", "Expires" })]
    public void Directive_chooses_the_headers(string directive, string[] expected)
    {
        using var apache = new ApacheServer(Stack.PreforkWithModPhp, extra: directive);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start("-g", Url(apache, apache.DefaultSocket, "{}", "", "X-A: 1", "X-B: 2",
            "Vary: Origin", "Expires: 0", "Content-Type: text/plain", "Content-Language: de", "X-Powered-By: me"));
        using var handoff = JsonDocument.Parse(listener.Serve("served"));
        curl.WaitForExit(Wait.Limit);

        string[] names = handoff.RootElement.TryGetProperty("response_headers", out var headers)
            ? [.. headers.EnumerateObject().Select(header => header.Name)] : [];
        Assert.Equal(expected.Order(StringComparer.Ordinal), names.Order(StringComparer.Ordinal));
    }

    [Theory, MemberData(nameof(Both))]
    public void Header_directives_of_httpd_reach_the_client_too(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: """
            Header set Access-Control-Allow-Origin https://site.example
            Header always set Strict-Transport-Security max-age=1
            Header always set X-Twice always
            Header set X-Twice set
            Header unset X-Gone
            """);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string answer = Get(apache, Prompt, "", "X-Stays: 1");

        Expect.WholeStream(answer);
        Assert.Contains("Access-Control-Allow-Origin: https://site.example", answer, StringComparison.Ordinal);
        Assert.Contains("Strict-Transport-Security: max-age=1", answer, StringComparison.Ordinal);
        Assert.Contains("X-Stays: 1", answer, StringComparison.Ordinal);
        Assert.Single(answer.Split('\n'), line => line.StartsWith("X-Twice: ", StringComparison.Ordinal));
    }

    [Theory, MemberData(nameof(Both))]
    public void Header_that_is_not_utf8_is_left_out_with_a_warning(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string url = Url(apache, apache.DefaultSocket, Prompt, "", "X-Good: 1") + "&header[]=X-Bad:%20caf%e9";
        string answer = Curl.Run("-g", "-i", url);

        Expect.WholeStream(answer);
        Assert.Contains("X-Good: 1", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("X-Bad", answer, StringComparison.Ordinal);
        Assert.Contains("the header X-Bad is not UTF-8", apache.Log, StringComparison.Ordinal);
    }

    private static string Get(ApacheServer apache, string data, string more, params string[] headers) =>
        Curl.Run("-g", "-i", Url(apache, apache.DefaultSocket, data, more, headers));

    private static string Url(
        ApacheServer apache, string socket, string data, string more, params string[] headers) =>
        apache.Url(ApacheServer.HandoffPath(socket, data, more
            + string.Concat(headers.Select(header => "&header[]=" + Uri.EscapeDataString(header)))));
}
