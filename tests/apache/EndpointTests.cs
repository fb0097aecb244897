using System.Text;
using System.Text.Json;

namespace StreamingDaemon.ApacheTests;

/// <summary>The endpoint and the page that sites copy.</summary>
public sealed class EndpointTests(SharedServers servers)
{
    private const string Json = "Content-Type: application/json";

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Chat_page_is_served_beside_its_endpoint(Stack stack)
    {
        string page = Curl.Run(servers[stack].Url("/chat/"));
        Assert.Contains("fetch(\"stream.php\"", page, StringComparison.Ordinal);
        Assert.DoesNotContain("://", page, StringComparison.Ordinal);
    }

    [Fact]
    public void Address_without_the_slash_leads_to_the_page_whatever_scheme_the_browser_came_with()
    {
        string example = File.ReadAllText(Path.Combine(Tools.Repository, "apache", "handoff.conf"));
        const string begin = "<IfModule alias_module>", end = "</IfModule>";
        int from = example.IndexOf(begin, StringComparison.Ordinal);
        string addresses = example[from..(example.IndexOf(end, from, StringComparison.Ordinal) + end.Length)];
        using var apache = new ApacheServer(Stack.EventWithPhpFpm, extra: addresses);

        // As a TLS terminator sends it, which knows the scheme and the port.
        string answer = Curl.Run("-i", "-H", "Host: chat.example:8443", apache.Url("/chat"));

        Assert.StartsWith("HTTP/1.1 302", answer, StringComparison.Ordinal);
        Assert.Contains("\nLocation: /chat/\r\n", answer.ReplaceLineEndings("\r\n"),
            StringComparison.Ordinal);
        Assert.Equal(404, Curl.Status(apache.Url("/chats")));
    }

    [Theory, MemberData(nameof(Both))]
    public void Json_and_form_posts_are_streamed(Stack stack)
    {
        string url = servers[stack].Url("/chat/stream.php");
        Expect.WholeStream(Curl.Run("-H", Json, "-d", """{"prompt":"hello"}""", url));
        Expect.WholeStream(Curl.Run("-d", "prompt=hello", url));
    }

    [Theory, MemberData(nameof(Both))]
    public void Handoff_data_is_one_line_of_utf8_with_everything_in_it(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        const string prompt = "Zürich \"quoted\"\r\nX-Injected: 1\n日本 🙂 </script>\u2028\u0085\u00a0.";
        string body = JsonSerializer.Serialize(new
        {
            prompt,
            messages = new[]
            {
                new { role = "user", content = "before" },
                new { role = "assistant", content = "answered" },
            },
            backend_url = "http://169.254.169.254/",
        });
        using var curl = Curl.Start("-H", Json, "-d", body, apache.Url("/chat/stream.php"));
        byte[] data = listener.Serve("served");

        Assert.DoesNotContain(data, octet => octet is < 0x20 or 0x7f);
        Assert.Contains("日本 🙂", Encoding.UTF8.GetString(data), StringComparison.Ordinal);
        using var handoff = JsonDocument.Parse(data);
        var messages = handoff.RootElement.GetProperty("messages");
        Assert.Equal(3, messages.GetArrayLength());
        Assert.Equal(prompt, messages[2].GetProperty("content").GetString());
        Assert.Equal(16, handoff.RootElement.GetProperty("request_id").GetString()!.Length);
        Assert.Equal(0, handoff.RootElement.GetProperty("user_id").GetInt64());
        Assert.False(handoff.RootElement.TryGetProperty("backend_url", out _));
    }

    [Theory, MemberData(nameof(Both))]
    public void Traceparent_of_the_request_is_in_the_handoff_of_each_endpoint(Stack stack)
    {
        const string trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        PhpLibraryTests.CopyLibrary(apache);
        const string chat = """{"stream":true,"messages":[{"role":"user","content":"hello"}]}""";
        string library = $"/library.php?socket={Uri.EscapeDataString(apache.DefaultSocket)}";
        foreach (string[] request in new string[][]
        {
            ["-d", "prompt=hello", apache.Url("/chat/stream.php")],
            [apache.Url("/chat/stream.php?resume=a1")],
            ["-H", Json, "-d", chat, apache.Url("/chat/openai.php/chat/completions")],
            [apache.Url(library)],
        })
        {
            Assert.Equal(trace, Traceparent(listener, ["-H", "traceparent: " + trace, .. request]));
            Assert.Null(Traceparent(listener, request));
            Assert.Null(Traceparent(listener, ["-H", "traceparent: " + trace + "\"", .. request]));
        }
    }

    private static string? Traceparent(HandoffListener listener, string[] request)
    {
        using var curl = Curl.Start(request);
        using var handoff = JsonDocument.Parse(listener.Serve("served"));
        return handoff.RootElement.TryGetProperty("traceparent", out var value) ? value.GetString() : null;
    }

    [Theory, MemberData(nameof(Both))]
    public void Bad_requests_are_refused_by_the_endpoint(Stack stack)
    {
        string url = servers[stack].Url("/chat/stream.php");
        Assert.Equal(405, Curl.Status(url));
        Assert.Equal(400, Curl.Status("-d", "prompt=", url));
        Assert.Equal(400, Curl.Status("-H", Json, "-d", "not json", url));
        Assert.Equal(400, Curl.Status("-H", Json, "-d", """{"messages":[{"role":"x"}]}""", url));
        Assert.Equal(400, Curl.Status("-H", Json, "-d", """{"messages":["text"]}""", url));
        Assert.Equal(400, Curl.Status("-d", "prompt=%ff", url));
    }

    /// <summary>8 KB, 200 KB and 5 MB, with a cookie that the module adds.</summary>
    [Theory, MemberData(nameof(Both))]
    public void Conversation_of_any_length_is_handed_over_whole(Stack stack)
    {
        foreach (string? prefix in new[] { null, "data" })
        {
            using var apache = new ApacheServer(stack, extra: $"""
                Header always set Set-Cookie "a=1"
                {(prefix == null ? "" : $"SocketHandoffDataPrefix {{_root}}/{prefix}")}
                """);
            File.SetUnixFileMode(Directory.CreateDirectory(apache.Root + "/data").FullName, (UnixFileMode)0b111_111_111);
            using var listener = new HandoffListener(apache.DefaultSocket);
            foreach (int turns in new[] { 8, 200, 5000 })
            {
                var messages = Enumerable.Range(0, turns).Select(i => new { role = "user", content = Turn(i) }).ToList();
                File.WriteAllText(apache.Root + "/body.json", JsonSerializer.Serialize(new { messages }));
                using var curl = Curl.Start("-H", Json, "--data-binary", "@" + apache.Root + "/body.json",
                    apache.Url("/chat/stream.php"));
                using var handoff = JsonDocument.Parse(listener.Serve("served"));
                curl.WaitForExit(Wait.Limit);

                Assert.Equal("served", curl.Output.Trim());
                Assert.Equal(messages.Select(m => m.content), handoff.RootElement.GetProperty("messages")
                    .EnumerateArray().Select(m => m.GetProperty("content").GetString()));
                Assert.True(handoff.RootElement.GetProperty("response_headers").TryGetProperty("Set-Cookie", out _));
                Assert.Equal(turns > 200, listener.Seals is not null);
                Assert.Empty(Directory.GetFiles(apache.Root + "/data"));
            }
            Assert.DoesNotContain("cannot write", apache.Log, StringComparison.Ordinal);
        }

        static string Turn(int number) => $"{number:D6}" + new string((char)('a' + number % 26), 994);
    }

    [Theory, MemberData(nameof(Both))]
    public void Conversation_of_five_megabytes_is_served_and_one_above_the_limit_is_a_413(Stack stack)
    {
        var apache = servers[stack];
        string url = apache.Url("/chat/stream.php");
        var turn = new { role = "user", content = new string('x', 1000) };
        Expect.WholeStream(Post(apache, url, new { messages = Enumerable.Repeat(turn, 5000) }));

        string file = Path.Combine(apache.Root, "long.json");
        File.WriteAllText(file, JsonSerializer.Serialize(new { prompt = new string('x', 8 << 20) }));
        Assert.Equal(413, Curl.Status("-H", Json, "-d", "@" + file, url));
    }

    [Theory, MemberData(nameof(Both))]
    public void Text_of_any_script_counts_its_utf8_bytes_against_the_limit(Stack stack)
    {
        var apache = servers[stack];
        // 198,000 bytes; escaped it would be 396,000.
        Expect.WholeStream(Post(apache, apache.Url("/chat/stream.php"), new
        {
            prompt = string.Concat(Enumerable.Repeat("日本", 33_000)),
        }));
    }

    private static string Post(ApacheServer apache, string url, object body)
    {
        string file = Path.Combine(apache.Root, "body.json");
        File.WriteAllText(file, JsonSerializer.Serialize(body), new UTF8Encoding(false));
        return Curl.Run("-H", Json, "-d", "@" + file, url);
    }

    [Theory, MemberData(nameof(Both))]
    public void Page_of_a_daemon_that_is_not_there_reads_a_503_in_the_shape_of_its_errors(Stack stack)
    {
        using var apache = new ApacheServer(stack);

        string answer = Curl.Run("-i", "--compressed", "-H", Json, "-H", "Accept: text/event-stream",
            "-d", """{"prompt":"hello"}""", apache.Url("/chat/stream.php"));

        Assert.StartsWith("HTTP/1.1 503 ", answer, StringComparison.Ordinal);
        using var body = JsonDocument.Parse(answer[answer.IndexOf('{', StringComparison.Ordinal)..]);
        Assert.NotEmpty(body.RootElement.GetProperty("error").GetProperty("code").GetString()!);
    }
}
