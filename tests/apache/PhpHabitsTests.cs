namespace StreamingDaemon.ApacheTests;

/// <summary>What docs/php.md tells of sessions, CORS, buffers, "headers already sent" and filters.</summary>
public sealed class PhpHabitsTests(SharedServers servers)
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Stream_holds_no_lock_of_its_session(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 1000);
        string jar = apache.Root + "/jar", url = apache.Url("/habits.php?case=session");
        Assert.Equal("1", Curl.Run("-c", jar, url + "&count=1").Trim());
        using var stream = Curl.Start("-b", jar, url);
        Wait.Until(() => Expect.ContentEvents(stream.Output) > 0, () => stream.Output);

        Assert.Equal("3", Curl.Run("-b", jar, url + "&count=1").Trim());
        Assert.DoesNotContain(Expect.Done, stream.Output, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Both))]
    public void Preflight_is_php_s_answer_and_the_stream_has_its_headers(Stack stack)
    {
        string url = servers[stack].Url("/habits.php?case=preflight");
        const string origin = "Origin: https://other.example", allowed = "Access-Control-Allow-Origin: https://other.example";

        string preflight = Curl.Run("-i", "-X", "OPTIONS", "-H", origin, url);
        Assert.StartsWith("HTTP/1.1 204 ", preflight, StringComparison.Ordinal);
        Assert.Contains(allowed, preflight, StringComparison.Ordinal);
        string answer = Curl.Run("-i", "-H", origin, "-d", "prompt=hello", url);
        Assert.Contains(allowed, answer, StringComparison.Ordinal);
        Expect.WholeStream(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Flush_while_a_buffer_of_php_holds_the_body_hands_over_under_mod_php_only(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start(apache.Url("/habits.php?case=buffered"));
        if (stack == Stack.EventWithPhpFpm)
        {
            Wait.Until(() => File.Exists(apache.Root + "/sessions/flushed"), () => apache.Log);
            Assert.False(listener.HasConnection);
            File.WriteAllText(apache.Root + "/sessions/go", "");
        }

        // What was printed before the headers is dropped with the rest.
        listener.Serve("served");
        curl.WaitForExit(Wait.Limit);
        Assert.Equal("served", curl.Output.Trim());
        Assert.Equal(stack == Stack.EventWithPhpFpm, File.Exists(apache.Root + "/sessions/flushed"));
    }

    [Theory, MemberData(nameof(Both))]
    public void Response_that_has_begun_is_php_s_to_finish_and_has_none_of_the_prompt(Stack stack)
    {
        string answer = Curl.Run("-i", servers[stack].Url("/habits.php?case=sent"));

        Assert.StartsWith("HTTP/1.1 200 ", answer, StringComparison.Ordinal);
        Assert.Contains("a space before the headers", answer, StringComparison.Ordinal);
        Assert.Matches(@"headers already sent by \(output started at .*habits\.php:\d+\)", answer);
        Assert.Equal(0, Expect.ContentEvents(answer));
        Expect.NoHandoffHeaders(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Output_filters_see_php_s_answers_and_not_the_stream(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: $"""
            {Tools.LoadModule("deflate")}
            {Tools.LoadModule("filter")}
            AddOutputFilterByType DEFLATE text/html text/event-stream
            """);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string plain = Curl.Run("-i", "-H", "Accept-Encoding: gzip", "-o", apache.Root + "/plain.gz", "-D", "-",
            apache.Url("/habits.php?case=page"));
        Assert.Contains("Content-Encoding: gzip", plain, StringComparison.Ordinal);

        string answer = Curl.Run("-i", "-H", "Accept-Encoding: gzip", apache.Url("/habits.php"));

        Assert.DoesNotContain("Content-Encoding", answer, StringComparison.Ordinal);
        Expect.WholeStream(answer);
    }
}
