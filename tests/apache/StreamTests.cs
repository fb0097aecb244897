using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>What a browser gets: PHP sets two headers, the daemon answers.</summary>
public sealed class StreamTests(SharedServers servers)
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Curl_streams_18_events_and_the_end(Stack stack)
    {
        var apache = servers[stack];
        string answer = Curl.Run("-i", apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket)));

        Assert.StartsWith("HTTP/1.1 200 OK", answer, StringComparison.Ordinal);
        Assert.Contains("Content-Type: text/event-stream", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("from the application", answer, StringComparison.Ordinal);
        Expect.WholeStream(answer);
        Expect.NoHandoffHeaders(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Events_arrive_one_by_one_and_not_at_the_end(Stack stack)
    {
        var apache = servers[stack];
        using var client = new RawClient(apache.Port);
        client.Send(RawClient.Get(ApacheServer.HandoffPath(apache.DefaultSocket)));

        // A whole answer needs 17 delays: the first event is here before most of the others.
        string early = client.ReadUntil("data: {");
        Assert.InRange(Expect.ContentEvents(early), 1, Expect.Events - 4);
        Expect.WholeStream(client.ReadToEnd());
    }

    [Theory, MemberData(nameof(Both))]
    public void Unread_body_of_a_megabyte_does_not_cut_the_answer(Stack stack)
    {
        var apache = servers[stack];
        string file = Path.Combine(apache.Root, "body.bin");
        File.WriteAllBytes(file, new byte[1_000_000]);

        string answer = Curl.Run("-X", "POST", "-H", "Content-Type: application/octet-stream",
            "--data-binary", "@" + file, apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket)));

        Expect.WholeStream(answer);
    }

    [Fact]
    public void Application_that_reads_on_after_the_handoff_gets_nothing_of_the_socket()
    {
        // Flushed before PHP has read the body: the handoff happens in the middle of the script.
        var apache = servers[Stack.PreforkWithModPhp];
        using var client = new RawClient(apache.Port);
        string path = ApacheServer.HandoffPath(apache.DefaultSocket, more: "&flush=1");
        // Without a Content-Type, because PHP reads a body of known type before the script begins.
        client.Send($"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");

        // Neither PHP nor httpd waits for a body that never comes.
        client.ReadUntil("data: {");
        Wait.Until(() => apache.AccessLog.Contains(" /handoff.php handoff=/", StringComparison.Ordinal),
            () => "The worker still waits.");
        client.Send(new byte[1_000_000]);
        Expect.WholeStream(client.ReadToEnd());
    }

    [Theory, MemberData(nameof(Both))]
    public void Connection_that_was_kept_alive_can_be_handed_over(Stack stack)
    {
        var apache = servers[stack];
        string answer = Curl.Run("-v", apache.Url("/plain.txt"),
            apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket)));

        Assert.Contains("Re-using existing connection", answer, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("plain", answer, StringComparison.Ordinal);
        Assert.Equal(Expect.Events, Expect.ContentEvents(answer));
        Assert.Contains("data: [DONE]", answer, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Both))]
    public void Pipelined_request_is_answered_after_the_one_before_it(Stack stack)
    {
        var apache = servers[stack];
        using var client = new RawClient(apache.Port);
        string handoff = RawClient.Get(ApacheServer.HandoffPath(apache.DefaultSocket));
        client.Send(RawClient.Get("/plain.txt") + handoff);

        string answer = client.ReadToEnd();
        Assert.Contains("\r\n\r\nplain\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream", answer,
            StringComparison.Ordinal);
        Expect.WholeStream(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Pipelined_request_waits_until_a_large_answer_before_it_has_left(Stack stack)
    {
        var apache = servers[stack];
        using var client = new RawClient(apache.Port, receiveBuffer: 16_384);
        string path = ApacheServer.HandoffPath(apache.DefaultSocket);
        client.Send(RawClient.Get("/large.txt") + RawClient.Get(path));
        // Long enough that httpd gets stuck on what the client does not take.
        Thread.Sleep(200);

        string answer = client.ReadToEnd();
        string large = new('l', ApacheServer.LargeFileBytes);
        Assert.Contains(large + "\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream",
            answer, StringComparison.Ordinal);
        Expect.WholeStream(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Bytes_pipelined_behind_a_handoff_do_not_cut_the_answer(Stack stack)
    {
        var apache = servers[stack];
        using var client = new RawClient(apache.Port);
        string handoff = RawClient.Get(ApacheServer.HandoffPath(apache.DefaultSocket));
        client.Send(handoff + RawClient.Get("/plain.txt"));
        client.ReadUntil("data: {");
        client.Send(RawClient.Get("/plain.txt"));

        Expect.WholeStream(client.ReadToEnd());
    }

    [Theory, MemberData(nameof(Both))]
    public void Two_hundred_concurrent_curls_all_get_everything(Stack stack)
    {
        var apache = servers[stack];
        string url = apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket));
        var answers = Curl.RunConcurrently(200, Path.Combine(apache.Root, "answers"), url);

        Assert.Equal(200, answers.Count);
        for (int number = 0; number < answers.Count; number++)
            Expect.WholeStream(answers[number], $"for curl {number}");
    }

    [Theory, MemberData(nameof(Both))]
    public void Head_request_gets_the_head_of_a_stream_and_no_stream(Stack stack)
    {
        var apache = servers[stack];
        using var client = new RawClient(apache.Port);
        client.Send(RawClient.Get(ApacheServer.HandoffPath(apache.DefaultSocket)).Replace("GET", "HEAD",
            StringComparison.Ordinal));
        string head = client.ReadUntil("\r\n\r\n");

        Assert.StartsWith("HTTP/1.1 200 OK", head, StringComparison.Ordinal);
        Assert.Contains("Content-Type: text/event-stream", head, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(head);

        // The connection is still httpd's, and in step.
        client.Send(RawClient.Get("/plain.txt"));
        string both = client.ReadUntil("\r\n\r\nplain\n");
        Assert.StartsWith(head + "HTTP/1.1 200 OK", both, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Both))]
    public async Task HttpClient_reads_the_stream_to_its_end(Stack stack)
    {
        var apache = servers[stack];
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = Wait.Limit };
        using var content = new StringContent("""{"prompt":"hello"}""", Encoding.UTF8, "application/json");
        using var answer = await http.PostAsync(apache.Url("/chat/stream.php"), content);

        answer.EnsureSuccessStatusCode();
        Assert.Equal("text/event-stream", answer.Content.Headers.ContentType?.MediaType);
        Expect.WholeStream(await answer.Content.ReadAsStringAsync());
    }
}
