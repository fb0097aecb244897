using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The way to the upstream: dead addresses, dead connections, proxies, and servers that need nothing
/// but an address.</summary>
public sealed class NetworkTests
{
    private const string Ask = """{"prompt":"hi"}""";

    [Theory]
    [InlineData(FakeLlmTransport.Http1)]
    [InlineData(FakeLlmTransport.H2c)]
    public async Task Server_on_http_needs_an_address_and_nothing_else(FakeLlmTransport transport)
    {
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString() }, false);

        Assert.True((await daemon.AskAsync(Ask)).IsDone);

        Assert.Contains("openai.api_base (OPENAI_API_BASE)", Assert.Single(daemon.LogLines("\"BackendChosen\"")),
            StringComparison.Ordinal);
        var request = Assert.Single(upstream.Requests);
        Assert.DoesNotContain("Authorization", request.Headers.Keys, StringComparer.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Model_that_the_server_does_not_have_is_in_the_log_with_who_named_it()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => exchange.RespondAsync(
            404, "application/json", """{"error":{"message":"model \"x\" not found, try pulling it first"}}""");
        await using var daemon = await upstream.StartDaemonAsync();

        Assert.Equal(502, StatusOf(await daemon.AskAsync("""{"prompt":"hi","model":"llama9"}""")));
        Assert.Equal(502, StatusOf(await daemon.AskAsync(Ask)));

        await Eventually.TrueAsync(() => daemon.LogLines("the model 'llama9', named by the handoff").Count == 1
            && daemon.LogLines("named by OPENAI_MODEL").Count == 1);
    }

    [Fact]
    public async Task Upstream_that_only_the_proxy_reaches_is_reached_through_it()
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        await using var proxy = new FakeProxy(upstream.BaseAddress.Port);
        var environment = upstream.OpenAIEnvironment(true);
        environment["OPENAI_API_BASE"] = "https://llm.example/v1";
        environment["HTTPS_PROXY"] = "http://" + proxy.Authority;
        await using var daemon = await DaemonProcess.StartAsync(environment, false, "--backend", "openai");

        Assert.True((await daemon.AskAsync(Ask)).IsDone);

        Assert.Equal("CONNECT llm.example:443 HTTP/1.1", Assert.Single(proxy.RequestLines));
    }

    [Fact]
    public async Task Loopback_is_reached_without_the_proxy()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var proxy = new FakeProxy(upstream.BaseAddress.Port);
        var environment = upstream.OpenAIEnvironment(false);
        environment["ALL_PROXY"] = "http://" + proxy.Authority;
        await using var daemon = await DaemonProcess.StartAsync(environment, false, "--backend", "openai");

        Assert.True((await daemon.AskAsync(Ask)).IsDone);

        Assert.Empty(proxy.RequestLines);
    }

    [Theory]
    [InlineData("HTTPS_PROXY", "ftp://me:secret@p", "HTTPS_PROXY is not the address of a proxy")]
    [InlineData("OPENAI_CA_FILE", "/nonexistent/ca.pem", "(OPENAI_CA_FILE): /nonexistent/ca.pem: cannot be read")]
    [InlineData("OPENAI_CLIENT_KEY_FILE", "/k", "(OPENAI_CLIENT_KEY_FILE): /k: cannot be read")]
    [InlineData("OPENAI_CA_FILE", "/etc/passwd", "OPENAI_CA_FILE /etc/passwd: holds no certificate in PEM")]
    [InlineData("OPENAI_CLIENT_KEY_FILE", "/etc/passwd", "OPENAI_CLIENT_KEY_FILE /etc/passwd: there is no certificate")]
    [InlineData("OPENAI_HTTP2_ENABLED", "maybe", "expected true, false or \"auto\"")]
    public async Task Wrong_network_option_refuses_the_start_by_its_name(string name, string value, string error)
    {
        var environment = new Dictionary<string, string> { ["OPENAI_API_KEY"] = "sk-a", [name] = value };
        using var directory = new TempDirectory();
        var (exitCode, _, said) = await DaemonProcess.RunAsync(
            environment, "--backend", "openai", "--socket", directory.File("s"));
        Assert.NotEqual(0, exitCode);
        Assert.Contains(error, said, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Readers_behind_a_connection_that_died_are_served_over_a_new_one()
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        await using var relay = new SilentRelay(upstream.BaseAddress.Port);
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["OPENAI_API_BASE"] = $"http://127.0.0.1:{relay.Port}/v1" }, false,
            "--backend", "openai");
        Assert.True((await daemon.AskAsync(Ask)).IsDone);
        await relay.FallSilentAsync();

        var readers = new List<Task<Answer>>();
        for (var i = 0; i < 3; i++)
        {
            readers.Add(daemon.AskAsync(Ask));
            await Task.Delay(TimeSpan.FromSeconds(1));
        }

        foreach (var answer in await Task.WhenAll(readers).WaitAsync(TimeSpan.FromSeconds(10)))
            Assert.True(answer.IsDone);
    }

    [Fact]
    public async Task Host_whose_first_address_swallows_everything_is_reached_by_the_other_within_two_seconds()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        using var dead = new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp);
        dead.Bind(new IPEndPoint(IPAddress.IPv6Loopback, upstream.BaseAddress.Port));
        dead.Listen(0);
        using var directory = new TempDirectory();
        await File.WriteAllTextAsync(directory.File("hosts"), "::1 llm.example\n127.0.0.1 llm.example\n");
        Assert.SkipUnless(HasMountNamespaces(), "mount namespaces are unavailable: unshare -m fails");
        using var filled = Fill(dead);
        await using var daemon = await DaemonProcess.StartUnderAsync(
            ["unshare", "-m", "sh", "-c", $"mount --bind {directory.File("hosts")} /etc/hosts && exec \"$@\"", "sh"],
            new Dictionary<string, string>
            {
                ["OPENAI_API_BASE"] = $"http://llm.example:{upstream.BaseAddress.Port}/v1",
            },
            false, "--backend", "openai");

        for (var i = 0; i < 2; i++)
        {
            var start = Environment.TickCount64;
            Assert.True((await daemon.AskAsync(Ask)).IsDone);
            Assert.InRange(Environment.TickCount64 - start, 0, 2_000);
        }
    }

    private static bool HasMountNamespaces()
    {
        using var unshare = Process.Start("unshare", ["-m", "true"]);
        unshare.WaitForExit();
        return unshare.ExitCode == 0;
    }

    private static int StatusOf(Answer answer) => int.Parse(answer.StatusLine.Split(' ')[1], CultureInfo.InvariantCulture);

    /// <summary>Connects until the queue is full and a SYN is not answered.</summary>
    private static FilledQueue Fill(Socket listener)
    {
        var sockets = new List<Socket>();
        while (true)
        {
            var socket = new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp);
            sockets.Add(socket);
            if (!socket.ConnectAsync(listener.LocalEndPoint!).Wait(300))
                return new FilledQueue(sockets);
        }
    }

    private sealed class FilledQueue(List<Socket> sockets) : IDisposable
    {
        public void Dispose() => sockets.ForEach(socket => socket.Dispose());
    }
}
