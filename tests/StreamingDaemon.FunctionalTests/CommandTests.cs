using System.Diagnostics;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

public sealed class CommandTests
{
    [Fact]
    [Trait("Seccomp", "No")]
    public async Task Demo_once_prints_one_answer_and_exits()
    {
        var (exitCode, output, error) = await DaemonProcess.RunAsync("demo", "--once", "--port", "0", "--delay", "0");

        Assert.Equal("", error);
        Assert.Equal(0, exitCode);
        Assert.Contains("Prompt: Tell me about streaming", output, StringComparison.Ordinal);
        Assert.Contains("[DONE-CONTENT]", output, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Seccomp", "No")]
    public async Task Demo_serves_the_chat_page_and_hands_the_browser_over_until_it_is_interrupted()
    {
        var port = DaemonProcess.FreePort();
        var command = DaemonProcess.Command();
        using var demo = Process.Start(new ProcessStartInfo(command[0],
            [.. command.Skip(1), "demo", "--port", $"{port}", "--delay", "0"])
        { RedirectStandardOutput = true })!;
        var url = new Uri($"http://127.0.0.1:{port}/");
        while (await demo.StandardOutput.ReadLineAsync().WaitAsync(TestClient.Patience) is { } line
               && !line.Contains(url.ToString(), StringComparison.Ordinal))
        {
        }

        using var http = new HttpClient { Timeout = TestClient.Patience };
        var page = await http.GetStringAsync(url);
        using var body = new StringContent("""{"prompt":"from a browser"}""", Encoding.UTF8, "application/json");
        using var response = await http.PostAsync(new Uri(url, "stream.php"), body);
        var answer = await response.Content.ReadAsStringAsync();

        Assert.Contains("stream.php", page, StringComparison.Ordinal);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.ToString());
        Assert.Contains("Prompt: from a browser", answer, StringComparison.Ordinal);
        Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
        await KeptAnswerIsReadOnAndStoppedAsync(http, new Uri(url, "stream.php"));
        Posix.Kill(demo.Id, 2);
        await demo.WaitForExitAsync().WaitAsync(TestClient.Patience);
        Assert.Equal(0, demo.ExitCode);
    }

    private static async Task KeptAnswerIsReadOnAndStoppedAsync(HttpClient http, Uri endpoint)
    {
        using var body = new StringContent("""{"prompt":"to keep","keep":true,"request_id":"k 1"}""");
        using var first = await http.PostAsync(endpoint, body);
        var kept = await first.Content.ReadAsStringAsync();
        var answer = new Uri(endpoint, "stream.php?resume=k+1");
        using var resume = new HttpRequestMessage(HttpMethod.Get, answer) { Headers = { { "Last-Event-ID", "17" } } };

        using var resumed = await http.SendAsync(resume);
        using var stopped = await http.DeleteAsync(answer);

        Assert.Equal(kept[kept.IndexOf("id: 18\n", StringComparison.Ordinal)..], await resumed.Content.ReadAsStringAsync());
        Assert.Matches("""^\{"stopped":false,"request_id":"k_1-[0-9a-f]{16}"\}\n$""", await stopped.Content.ReadAsStringAsync());
        using var nothing = await http.GetAsync(endpoint);
        Assert.Equal(HttpStatusCode.NotFound, nothing.StatusCode);
    }

    [Fact]
    public async Task Send_prints_the_stream_of_a_running_daemon()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var (exitCode, output, _) = await DaemonProcess.RunAsync(
            "send", "--socket", daemon.SocketPath, "--prompt", "over here", "--data", """{"user_id":77}""");

        Assert.Equal(0, exitCode);
        Assert.Contains("Prompt: over here\"}\n", output, StringComparison.Ordinal);
        Assert.Contains("data: {\"content\":\"User ID: 77\"}\n", output, StringComparison.Ordinal);
        Assert.Contains("data: [DONE]\n", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)] // The handoff waits in the queue for good.
    [InlineData(0)] // The queue holds one, and connect(2) waits.
    public async Task Send_to_a_daemon_that_stands_still_ends_at_its_timeout_and_says_so(int room)
    {
        using var directory = new TempDirectory();
        var path = directory.File("s");
        using var still = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        still.Bind(new UnixDomainSocketEndPoint(path));
        still.Listen(0);
        var queued = room > 0 ? -1 : Posix.ConnectUnix(path, Posix.SockSeqPacket);

        var (exitCode, output, error) = await DaemonProcess.RunAsync(
            "send", "--socket", path, "--prompt", "x", "--timeout", "1");

        Assert.Equal((1, ""), (exitCode, output));
        Assert.Equal($"streaming-daemon: {path}: the answer did not end within 1 s (--timeout)\n", error);
        if (queued >= 0)
            Posix.Close(queued);
    }

    [Fact]
    public async Task Check_and_the_log_name_an_api_socket_that_leads_nowhere_and_the_client_gets_a_502()
    {
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-a",
            ["OPENAI_API_BASE"] = "http://llm/v1",
            ["OPENAI_API_SOCKET"] = "/tmp/no-such-api-socket",
        };

        var (exitCode, output, _) = await DaemonProcess.RunAsync(
            environment, "check", "--backend", "openai", "--socket", "/tmp/no-such-socket");
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        var answer = await daemon.AskAsync("""{"prompt":"x"}""");

        Assert.Equal(0, exitCode);
        Assert.Contains("warning  upstream", output, StringComparison.Ordinal);
        Assert.Contains("OPENAI_API_SOCKET /tmp/no-such-api-socket: does not exist", output, StringComparison.Ordinal);
        Assert.Equal("HTTP/1.1 502 Bad Gateway", answer.StatusLine);
        Assert.DoesNotContain("no-such-api-socket", answer.Body, StringComparison.Ordinal);
        Assert.StartsWith("the upstream cannot be reached: /tmp/no-such-api-socket: does not exist",
            (await daemon.AccessLogAsync(1))[0].GetProperty("Reason").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Send_to_nobody_says_so_and_fails()
    {
        var (exitCode, _, error) = await DaemonProcess.RunAsync("send", "--socket", "/tmp/no-such-socket", "--prompt", "x");

        Assert.Equal(1, exitCode);
        Assert.Contains("Is the daemon running?", error, StringComparison.Ordinal);
    }
}
