using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

[Trait("Quick", "Yes")]
public sealed class MockStreamTests
{
    [Fact]
    public async Task Answer_is_the_head_eighteen_events_and_done()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "1");

        var answer = await daemon.AskAsync("""{"prompt":"Grüße \"dort\" 👋\n","user_id":"42"}""");

        Assert.Equal(Answer.StreamHead, answer.Head);
        Assert.True(answer.IsDone);
        Assert.Equal(18, answer.Contents.Count);
        Assert.EndsWith("Prompt: Grüße \"dort\" 👋\n", answer.Contents[0], StringComparison.Ordinal);
        Assert.Contains("Grüße \\\"dort\\\" 👋\\n", answer.Raw, StringComparison.Ordinal);
        Assert.Equal("User ID: 42", answer.Contents[1]);
        Assert.Equal("This is message 13 of 18.", answer.Contents[12]);
        Assert.Equal("[DONE-CONTENT]", answer.Contents[17]);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\0")]
    [InlineData(" {} \n\0")]
    [InlineData("""{"user_id":[],"prompt":{},"messages":true,"temperature":{},"unknown":{"a":[1]},"backend":"none"}""")]
    public async Task Handoff_without_usable_fields_is_served_with_defaults(string data)
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var answer = await daemon.AskAsync(data);

        Assert.True(answer.IsDone);
        Assert.EndsWith("Prompt: (none)", answer.Contents[0], StringComparison.Ordinal);
        Assert.Equal("User ID: 0", answer.Contents[1]);
    }

    [Fact]
    public async Task Response_headers_follow_the_fixed_ones_in_order_and_dangerous_ones_are_dropped()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var answer = await daemon.AskAsync("""
            {"response_headers":{"X-B":"2","x-a":"eins ü","Content-Type":"text/html","X-Bad\r\nX":"1",
             "X-Split":"a\r\nSet-Cookie: x","connection":"keep-alive","X-Number":5,"":"empty","X-Empty":""}}
            """);

        Assert.Equal(Answer.StreamHead[..^2] + "X-B: 2\r\nx-a: eins ü\r\nX-Number: 5\r\nX-Empty: \r\n\r\n",
            answer.Head);
        Assert.True(answer.IsDone);
    }

    [Fact]
    public async Task Array_of_a_response_header_is_one_line_for_each_of_its_values()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var answer = await daemon.AskAsync("""
            {"response_headers":{"Set-Cookie":["a=1; Path=/",5,["nested"],"b=2","c=\r\nX: 3"],"X-None":[],
             "X-Last":"1","Connection":["keep-alive"]}}
            """);

        Assert.Equal(
            Answer.StreamHead[..^2] + "Set-Cookie: a=1; Path=/\r\nSet-Cookie: 5\r\nSet-Cookie: b=2\r\n"
            + "X-Last: 1\r\n\r\n", answer.Head);
        Assert.True(answer.IsDone);
    }

    [Fact]
    public async Task Lines_of_the_json_log_have_their_time_and_a_message_to_read()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        _ = await daemon.AskAsync("""{"request_id":"r-1"}""");

        var line = Assert.Single(await daemon.AccessLogAsync(1));
        Assert.True(line.GetProperty("@t").TryGetDateTime(out var time));
        Assert.Equal(DateTimeKind.Utc, time.Kind);
        Assert.StartsWith("stream Completed request_id=\"r-1\" user_id=null backend=\"mock\"",
            line.GetProperty("@m").GetString(), StringComparison.Ordinal);
        Assert.Equal("r-1", line.GetProperty("RequestId").GetString());
    }

    [Fact]
    public async Task Unusable_handoff_fields_are_named_in_a_warning_and_the_rest_is_served()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var answer = await daemon.AskAsync(
            """{"prompt":"secret","request_id":"r-1","user_id":["alice"],"messages":[{"content":null}],"max_tokens":-1}""");

        Assert.True(answer.IsDone);
        Assert.Equal("Completed", await daemon.OutcomeAsync());
        var line = Assert.Single(daemon.LogLines("ignored unusable"));
        Assert.Contains("\"@l\":\"Warning\"", line, StringComparison.Ordinal);
        Assert.Contains("\"Fields\":\"user_id, messages[0], max_tokens\",\"RequestId\":\"r-1\"", line,
            StringComparison.Ordinal);
        Assert.DoesNotContain("secret", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unknown_backend_of_a_handoff_gets_the_default_one_and_a_warning_that_names_it()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var answer = await daemon.AskAsync("""{"backend":"open\nai","request_id":"r-1"}""");

        Assert.True(answer.IsDone);
        Assert.Equal("Completed", await daemon.OutcomeAsync());
        var line = Assert.Single(daemon.LogLines("not configured"));
        Assert.Contains("\"@l\":\"Warning\"", line, StringComparison.Ordinal);
        Assert.Contains("\"Backend\":\"open_ai\",\"Default\":\"mock\",\"RequestId\":\"r-1\"", line,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"prompt":"cut""")]
    [InlineData("[1,2]")]
    [InlineData("nonsense")]
    [InlineData("""{"prompt":"a"} trailing""")]
    public async Task Malformed_handoff_is_a_400_with_a_json_body(string data)
    {
        await using var daemon = await DaemonProcess.StartAsync();

        var answer = await daemon.AskAsync(data);

        Assert.Equal("HTTP/1.1 400 Bad Request", answer.StatusLine);
        Assert.Contains("Connection: close\r\n", answer.Head, StringComparison.Ordinal);
        Assert.Contains($"Content-Length: {Encoding.UTF8.GetByteCount(answer.Body)}\r\n", answer.Head,
            StringComparison.Ordinal);
        Assert.Matches(
            """^\{"error":\{"code":"bad_handoff","message":"[^"]+","request_id":"sd-[^"]+"\}\}\n$""", answer.Body);
        Assert.Equal("BadHandoff", await daemon.OutcomeAsync());
    }

    [Fact]
    public async Task Handoff_above_the_limit_is_a_413()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_STREAMING__MAX_HANDOFF_BYTES"] = "4096" }, true);

        var answer = await daemon.AskAsync($$"""{"prompt":"{{new string('x', 5000)}}"}""");

        Assert.Equal("HTTP/1.1 413 Content Too Large", answer.StatusLine);
    }

    [Fact]
    public async Task Client_over_capacity_reads_a_503_with_retry_after()
    {
        await using var daemon = await DaemonProcess.StartAsync("--max-connections", "2", "--delay", "200");
        using var first = TestClient.HandOver(daemon.SocketPath, "{}");
        using var second = TestClient.HandOver(daemon.SocketPath, "{}");

        var third = await daemon.AskAsync("""{"request_id":"the-third"}""");

        Assert.Equal("HTTP/1.1 503 Service Unavailable", third.StatusLine);
        Assert.Contains("\r\nRetry-After: ", third.Head, StringComparison.Ordinal);
        Assert.Contains("\"request_id\":\"the-third\"", third.Body, StringComparison.Ordinal);
        Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(first)).IsDone);
        Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(second)).IsDone);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Browser_on_tcp_gets_the_whole_answer(bool ipv6)
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        using var browser = TestClient.HandOverTcp(daemon.SocketPath, "{}", ipv6);

        Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(browser)).IsDone);
    }

    [Fact]
    public async Task Events_leave_as_they_come_and_not_at_the_end()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "1000");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");

        // Reads only the first event: the others take seventeen more seconds.
        var early = await TestClient.ReadUntilAsync(client, "\n\n");

        Assert.StartsWith(Answer.StreamHead, early, StringComparison.Ordinal);
        Assert.DoesNotContain("User ID", early, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_thousand_clients_at_once_all_get_every_byte_and_leave_nothing_open()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "50");
        _ = await daemon.AskAsync("{}");
        await Eventually.TrueAsync(() => daemon.LogLines("Completed").Count == 1);
        var before = daemon.OpenSockets();

        var clients = Enumerable.Range(0, 1000)
            .Select(i => TestClient.HandOver(daemon.SocketPath, $$"""{"user_id":{{i}},"prompt":"number {{i}}"}"""))
            .ToList();
        var answers = await Task.WhenAll(clients.Select(c => TestClient.ReadToEndAsync(c)));
        clients.ForEach(c => c.Dispose());

        var template = Encoding.UTF8.GetString(answers[7]);
        for (var i = 0; i < answers.Length; i++)
        {
            var expected = template.Replace("Prompt: number 7", $"Prompt: number {i}", StringComparison.Ordinal)
                .Replace("User ID: 7", $"User ID: {i}", StringComparison.Ordinal);
            Assert.Equal(expected, Encoding.UTF8.GetString(answers[i]));
        }

        Assert.Equal(18, Answer.Parse(answers[7]).Contents.Count);
        await Eventually.TrueAsync(() => daemon.OpenSockets() <= before);
        Assert.Contains("streaming_daemon_connections_peak 1000\n", await daemon.MetricsAsync(),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Older_module_that_sends_over_a_stream_socket_is_served()
    {
        await using var daemon = await DaemonProcess.StartAsync("--socket-type", "stream", "--delay", "0");

        using var client = TestClient.HandOver(daemon.SocketPath, """{"user_id":5}""", Posix.SockStream);

        Assert.Equal("User ID: 5", Answer.Parse(await TestClient.ReadToEndAsync(client)).Contents[1]);
    }

    [Fact]
    public async Task Sqpoll_serves_as_well()
    {
        await using var daemon = await DaemonProcess.StartAsync("--sqpoll", "--delay", "1");

        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => daemon.AskAsync("{}")));

        Assert.All(answers, a => Assert.True(a.IsDone));
        Assert.Contains("sqpoll=\"enabled\"", await daemon.MetricsAsync(), StringComparison.Ordinal);
    }
}
