using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>Answers that outlive their reader, through the endpoint that sites copy.</summary>
public sealed class KeptAnswerTests(SharedServers servers)
{
    private const string Json = "Content-Type: application/json";

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Kept_answer_is_read_on_after_the_event_that_the_browser_names(Stack stack)
    {
        string url = servers[stack].Url("/chat/stream.php"), id = NewId();
        string whole = Curl.Run("-i", "-H", Json, "-d", Question(id), url);
        Expect.WholeStream(whole);
        Assert.Contains($"X-Answer-Id: {id}", whole, StringComparison.Ordinal);

        string events = whole[whole.IndexOf("id: 1\n", StringComparison.Ordinal)..];
        Assert.Equal(events, Curl.Run($"{url}?resume={id}"));
        Assert.Equal(events[events.IndexOf("id: 18\n", StringComparison.Ordinal)..],
            Curl.Run("-H", "Last-Event-ID: 17", $"{url}?resume={id}"));
        // All of it is read: an EventSource asks no more.
        Assert.Equal(204, Curl.Status("-H", "Last-Event-ID: 19", $"{url}?resume={id}"));
        Assert.Equal(404, Curl.Status($"{url}?resume={NewId()}"));
    }

    [Theory, MemberData(nameof(Both))]
    public void Repeated_post_joins_the_answer_and_a_form_keeps_too(Stack stack)
    {
        string url = servers[stack].Url("/chat/stream.php"), id = NewId();
        string first = Curl.Run("-d", $"prompt=first&keep=1&request_id={id}", url);
        Expect.WholeStream(first);

        Assert.Equal(first, Curl.Run("-H", Json, "-d", Question(id, "second"), url));
        Assert.Contains("Prompt: first", first, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Stack.PreforkWithModPhp, "POST")]
    [InlineData(Stack.PreforkWithModPhp, "DELETE")]
    [InlineData(Stack.EventWithPhpFpm, "POST")]
    [InlineData(Stack.EventWithPhpFpm, "DELETE")]
    public void Stop_ends_the_answer_for_its_readers(Stack stack, string method)
    {
        using var apache = new ApacheServer(stack);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 2000);
        string url = apache.Url("/chat/stream.php"), id = NewId();
        using var first = Curl.Start("-H", Json, "-d", Question(id), url);
        Wait.Until(() => first.Output.Contains("id: 1\n", StringComparison.Ordinal), () => first.Output);
        using var second = Curl.Start($"{url}?resume={id}");
        Wait.Until(() => second.Output.Contains("id: 1\n", StringComparison.Ordinal), () => second.Output);

        string stopped = method == "POST"
            ? Curl.Run("-H", Json, "-d", $$"""{"stop":"{{id}}"}""", url)
            : Curl.Run("-X", "DELETE", $"{url}?resume={id}");

        Assert.Equal($$"""{"stopped":true,"request_id":"{{id}}"}""", stopped.Trim());
        foreach (var reader in new[] { first, second })
        {
            reader.WaitForExit(Wait.Limit);
            Assert.EndsWith(Expect.Done, reader.Output, StringComparison.Ordinal);
            Assert.InRange(Expect.ContentEvents(reader.Output), 1, Expect.Events - 1);
        }
    }

    [Theory]
    [InlineData("""{"user_id":0,"resume":"a-1.b_C","last_event_id":17}""", "-H", "Last-Event-ID: 17")]
    [InlineData("""{"user_id":0,"resume":"a-1.b_C"}""", "-H", "Accept: text/event-stream")]
    [InlineData("""{"user_id":0,"stop":"a-1.b_C"}""", "-X", "DELETE")]
    [InlineData("""{"user_id":0,"request_id":"b","keep":true,"format":"text","prompt":"x"}""",
        "-d", "prompt=x&keep=true&request_id=b")]
    [InlineData("""{"user_id":0,"stop":"b"}""", "-d", "stop=b")]
    public void Handoff_holds_what_the_daemon_needs_and_the_user_from_the_session(string data, params string[] request)
    {
        using var apache = new ApacheServer(Stack.EventWithPhpFpm);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start([.. request, apache.Url("/chat/stream.php?resume=a-1.b_C&user_id=9")]);

        Assert.Equal(data, Encoding.UTF8.GetString(listener.Serve("served")));
    }

    [Theory, MemberData(nameof(Both))]
    public void Odd_ids_and_methods_are_refused_by_the_endpoint(Stack stack)
    {
        string url = servers[stack].Url("/chat/stream.php");
        Assert.Equal(400, Curl.Status($"{url}?resume="));
        Assert.Equal(400, Curl.Status($"{url}?resume[]=a"));
        Assert.Equal(400, Curl.Status($"{url}?resume={new string('x', 65)}"));
        Assert.Equal(400, Curl.Status($"{url}?resume=a%0d%0aX-Socket-Handoff:%20b"));
        Assert.Equal(400, Curl.Status("-H", "Last-Event-ID: x", $"{url}?resume=a"));
        Assert.Equal(400, Curl.Status("-H", Json, "-d", """{"stop":["a"]}""", url));
        Assert.Equal(400, Curl.Status("-H", Json, "-d", Question("a b"), url));
        string refused = Curl.Run("-i", "-X", "PUT", $"{url}?resume=a");
        Assert.StartsWith("HTTP/1.1 405 ", refused, StringComparison.Ordinal);
        Assert.Contains("Allow: GET, POST, DELETE", refused, StringComparison.Ordinal);
    }

    private static string NewId() => Guid.NewGuid().ToString("N");

    private static string Question(string id, string prompt = "hello") =>
        $$"""{"prompt":"{{prompt}}","keep":true,"request_id":"{{id}}"}""";
}
