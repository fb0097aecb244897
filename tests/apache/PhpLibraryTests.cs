using System.Text.Json;

namespace StreamingDaemon.ApacheTests;

/// <summary>The library of <c>apache/php</c>, alone and in httpd.</summary>
public sealed class PhpLibraryTests
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Fact]
    public void Unit_tests_of_the_library_pass()
    {
        var (exitCode, output) = ChildProcess.Run(Tools.PhpUnit, "-c", LibraryPath("phpunit.xml"));

        Assert.True(exitCode == 0, output);
        Assert.Matches(@"OK \(\d\d+ tests", output);
    }

    [Theory, MemberData(nameof(Both))]
    public void Respond_hands_a_long_conversation_over_and_closes_the_session(Stack stack)
    {
        using var apache = Start(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start(Url(apache, "session", "&length=20000"));
        using var handoff = JsonDocument.Parse(listener.Serve("served"));
        curl.WaitForExit(Wait.Limit);

        Assert.Equal("served", curl.Output.Trim());
        Assert.Equal("7", handoff.RootElement.GetProperty("user_id").GetString());
        Assert.Equal(string.Concat(Enumerable.Repeat("日本 ", 20_000)),
            handoff.RootElement.GetProperty("messages")[0].GetProperty("content").GetString());
        const string none = "1";
        Assert.Equal(none, File.ReadAllText(apache.Root + "/sessions/status"));
    }

    /// <summary>Also if the site's own handler answers it, or if it comes after the script's last line.</summary>
    [Theory]
    [InlineData(Stack.PreforkWithModPhp, 0)]
    [InlineData(Stack.PreforkWithModPhp, 1)]
    [InlineData(Stack.EventWithPhpFpm, 0)]
    [InlineData(Stack.EventWithPhpFpm, 1)]
    public void Exception_after_respond_is_a_500_and_nobody_asks_the_model(Stack stack, int displayErrors)
    {
        using var apache = Start(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        foreach (var (name, status, handled) in new[]
        {
            ("exception", 500, false), ("shutdown", 500, false), ("destructor", 500, false), ("handled", 500, true),
            // The handler's own status is the last word.
            ("replaced", 409, true),
        })
        {
            string answer = Curl.Run("-i", "-m", "5", Url(apache, name, $"&display_errors={displayErrors}"));

            // PHP writes 1.0 if it makes the status itself.
            Assert.Matches($"^HTTP/1.[01] {status} ", answer);
            Assert.Equal(handled || displayErrors == 1, answer.Contains("after respond()", StringComparison.Ordinal));
            Assert.Equal(handled, answer.Contains("handled: ", StringComparison.Ordinal));
            Expect.NoHandoffHeaders(answer);
            Assert.False(listener.HasConnection, name);
        }
    }

    [Theory, MemberData(nameof(Both))]
    public void Handoff_that_is_taken_back_leaves_the_answer_to_the_application(Stack stack)
    {
        using var apache = Start(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        string answer = Curl.Run("-i", Url(apache, "back"));

        Assert.StartsWith("HTTP/1.1 409 ", answer, StringComparison.Ordinal);
        Assert.EndsWith("printed afterwards by the application", answer.Trim(), StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
        Assert.False(listener.HasConnection);
    }

    [Theory, MemberData(nameof(Both))]
    public void Status_that_is_set_after_respond_comes_with_all_that_the_script_prints(Stack stack)
    {
        using var apache = Start(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        string answer = Curl.Run("-i", Url(apache, "status"));

        Assert.StartsWith("HTTP/1.1 422 ", answer, StringComparison.Ordinal);
        Assert.EndsWith("\nprinted afterwards, and refused", answer.Trim(), StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
        Assert.False(listener.HasConnection);
    }

    [Theory, MemberData(nameof(Both))]
    public void File_of_a_handoff_that_is_taken_back_is_removed(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: "SocketHandoffDataPrefix {_root}/data");
        CopyLibrary(apache);
        string data = Directory.CreateDirectory(apache.Root + "/data").FullName;
        File.SetUnixFileMode(data, (UnixFileMode)0b111_111_111);
        using var listener = new HandoffListener(apache.DefaultSocket);
        foreach (var (name, status) in new[] { ("back", 409), ("exception", 500) })
        {
            Assert.Equal(status, Curl.Status(Url(apache, name, "&length=40000&files=1")));
            // The control: there was one.
            Assert.Equal("1", File.ReadAllText(apache.Root + "/sessions/files"));
            Assert.Empty(Directory.GetFiles(data));
        }
        Assert.False(listener.HasConnection);
        string unsent = Curl.Run("-i", Url(apache, "unsent", "&length=40000"));
        Assert.StartsWith("HTTP/1.1 200 ", unsent, StringComparison.Ordinal);
        Assert.EndsWith("\n1, then 0", unsent.Trim(), StringComparison.Ordinal);
    }

    /// <summary>Headers of the first would mix with those of the second: a file beside data, or parts of both.</summary>
    [Theory]
    [InlineData(Stack.PreforkWithModPhp, "SocketHandoffDataPrefix {_root}/data")]
    [InlineData(Stack.PreforkWithModPhp, "")]
    [InlineData(Stack.EventWithPhpFpm, "SocketHandoffDataPrefix {_root}/data")]
    [InlineData(Stack.EventWithPhpFpm, "")]
    public void Second_respond_takes_the_place_of_the_first(Stack stack, string directive)
    {
        using var apache = new ApacheServer(stack, extra: directive);
        CopyLibrary(apache);
        string data = Directory.CreateDirectory(apache.Root + "/data").FullName;
        File.SetUnixFileMode(data, (UnixFileMode)0b111_111_111);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start(Url(apache, "twice", "&length=40000"));
        using var handoff = JsonDocument.Parse(listener.Serve("served"));
        curl.WaitForExit(Wait.Limit);

        Assert.Equal("second", handoff.RootElement.GetProperty("prompt").GetString());
        Assert.Empty(Directory.GetFiles(data));
    }

    [Fact]
    public void Respond_that_comes_too_late_leaves_no_file_behind()
    {
        using var apache = new ApacheServer(Stack.PreforkWithModPhp, extra: "SocketHandoffDataPrefix {_root}/data");
        CopyLibrary(apache);
        string data = Directory.CreateDirectory(apache.Root + "/data").FullName;
        File.SetUnixFileMode(data, (UnixFileMode)0b111_111_111);

        Assert.Contains("HeadersAlreadySent", Curl.Run(Url(apache, "sent", "&length=40000")), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(data));
    }

    [Theory, MemberData(nameof(Both))]
    public void Output_before_respond_is_an_exception_that_names_its_line(Stack stack)
    {
        using var apache = Start(stack);
        string answer = Curl.Run(Url(apache, "sent"));

        Assert.StartsWith("too early" + @"StreamingDaemon\HeadersAlreadySent: The response began in ", answer,
            StringComparison.Ordinal);
        Assert.Matches(@"library\.php, line \d+\.$", answer.Trim());
    }

    [Theory, MemberData(nameof(Both))]
    public void Without_the_module_nothing_of_the_prompt_leaves(Stack stack)
    {
        using var apache = Start(stack);
        string answer = Curl.Run("-i", "-H", "Host: disabled.test", Url(apache, ""));

        Assert.Contains(@"StreamingDaemon\ModuleUnavailable: ", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("日本", answer, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Without_the_module_the_fallback_streams_as_the_daemon_would(Stack stack)
    {
        using var apache = Start(stack);
        string upstream = Uri.EscapeDataString(apache.Url("/upstream.php"));
        string answer = Curl.Run("-i", "-H", "Host: disabled.test", Url(apache, "", "&upstream=" + upstream));

        Assert.Contains("Content-Type: text/event-stream", answer, StringComparison.Ordinal);
        Assert.Contains("X-From: fallback", answer, StringComparison.Ordinal);
        Assert.Contains("data: {\"content\":\"Hel\"}\n\ndata: {\"content\":\"lo \"}\n\n"
            + "data: {\"content\":\"日本 \"}\n\ndata: [DONE]\n\n", answer, StringComparison.Ordinal);

        string broken = Uri.EscapeDataString(apache.Url("/nowhere"));
        string error = Curl.Run("-H", "Host: disabled.test", Url(apache, "", "&upstream=" + broken));
        Assert.StartsWith("data: {\"error\":\"The model is unavailable.\"}\n\n", error, StringComparison.Ordinal);
        Assert.DoesNotContain("[DONE]", error, StringComparison.Ordinal);
    }

    private static string Url(ApacheServer apache, string name, string more = "") => apache.Url(
        $"/library.php?socket={Uri.EscapeDataString(apache.DefaultSocket)}&case={name}{more}");

    private static ApacheServer Start(Stack stack)
    {
        var apache = new ApacheServer(stack);
        CopyLibrary(apache);
        return apache;
    }

    /// <summary>Beside the document root.</summary>
    internal static void CopyLibrary(ApacheServer apache)
    {
        foreach (string name in new[]
        {
            "autoload.php", "src/Handoff.php", "src/Delivery.php", "src/CurlStream.php", "src/Values.php",
            "src/exceptions.php",
        })
        {
            string copy = Path.Combine(apache.Root, "php", name);
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(LibraryPath(name), copy);
        }
    }

    private static string LibraryPath(string name) => Path.Combine(Tools.Repository, "apache", "php", name);
}
