using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Probes of the metrics port, while a crowd of other connections fills it.</summary>
[Trait("Takes", "Long")]
public sealed class CrowdTests
{
    /// <summary>An answer must arrive within this time: the default timeout of an orchestrator's probe.
    /// </summary>
    private const int PromiseMs = 1_000;

    private const string Probe = "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    public static TheoryData<string, string> Crowds => new()
    {
        { "say nothing", "" },
        { "send half a request", "GET /heal" },
        { "send half a head", "GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\r\n" },
        { "send a body without end", "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n" + new string('x', 3000) },
        { "send chunks without end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + new string('x', 3000) },
        { "do not read", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" },
        { "ask for much and do not read", string.Concat(Enumerable.Repeat("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200)) },
        { "send many requests at once", string.Concat(Enumerable.Repeat("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", 100)) },
        { "speak HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
        { "speak TLS", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003" },
        { "send a head without end", "GET / HTTP/1.1\r\nX: " + new string('y', 20_000) },
    };

    [Theory]
    [MemberData(nameof(Crowds))]
    public async Task Probe_is_answered_within_a_second_while_600_others(string kind, string sent)
    {
        Assert.NotEmpty(kind);
        await using var daemon = await DaemonProcess.StartAsync();
        var descriptors = daemon.OpenSockets();
        var bytes = Encoding.Latin1.GetBytes(sent);

        for (var round = 0; round < 3; round++)
        {
            using var crowd = new Crowd(daemon.MetricsPort, 600, bytes);
            Assert.Equal("HTTP/1.1 200 OK", Ask(daemon));
            crowd.Gather();
            Assert.Equal("HTTP/1.1 200 OK", Ask(daemon));
            Assert.InRange(daemon.OpenSockets(), 0, descriptors + 64 + 48 + 6);
        }

        await Eventually.TrueAsync(() => daemon.OpenSockets() <= descriptors);
    }

    [Fact]
    public async Task Probe_is_answered_within_a_second_while_5000_connections_are_held()
    {
        await using var daemon = await DaemonProcess.StartAsync();
        using var crowd = new Crowd(daemon.MetricsPort, 5_000, []);

        while (!crowd.IsGathered)
            Assert.Equal("HTTP/1.1 200 OK", Ask(daemon));
        Assert.Equal("HTTP/1.1 200 OK", Ask(daemon));
    }

    [Theory]
    [Trait("Needs", "Tools")]
    [InlineData("")]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
    public async Task Probe_that_has_sent_its_request_is_answered_whoever_comes_after_it(string sent)
    {
        using var directory = new TempDirectory();
        await using var daemon = await DaemonProcess.StartAsync();
        // The loop is stopped, so the answer takes the whole turn timeout. Meanwhile the probe is the oldest.
        using var holder = await HeldThread.HoldLoopAsync(directory, daemon.Pid);
        using var probe = Connect(daemon.MetricsPort);
        probe.Send(Encoding.ASCII.GetBytes(Probe));
        using var crowd = new Crowd(daemon.MetricsPort, 1_000, Encoding.ASCII.GetBytes(sent));
        crowd.Gather();

        Assert.Equal("HTTP/1.1 503 Service Unavailable", FirstLine(probe));

        await holder.ReleaseAsync();
        await Eventually.TrueAsync(() => Ask(daemon) == "HTTP/1.1 200 OK");
    }

    [Fact]
    public async Task Request_that_comes_in_two_parts_and_two_in_one_are_answered_in_turn()
    {
        await using var daemon = await DaemonProcess.StartAsync();
        using var probe = Connect(daemon.MetricsPort);

        probe.Send("\r\nGET /health/li"u8);
        _ = Ask(daemon);
        probe.Send("ve HTTP/1.1\r\nHost: a\r\n\r\nHEAD http://a/HEALTH?x HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n"u8);

        var all = Encoding.ASCII.GetString(await TestClient.ReadToEndAsync(probe));
        Assert.StartsWith("HTTP/1.1 200 OK\r\n", all, StringComparison.Ordinal);
        Assert.Contains("{\"status\":\"ok\"}\nHTTP/1.1 200 OK\r\n", all, StringComparison.Ordinal);
        Assert.Contains("\r\n\r\nHTTP/1.1 200 OK\r\n", all, StringComparison.Ordinal);
        Assert.Contains("Connection: close\r\n", all, StringComparison.Ordinal);
        Assert.Contains("\r\n\r\n# HELP", all, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400)]
    [InlineData("GET /\r\n\r\n", 400)]
    [InlineData("GET / HTTP/2.0\r\n\r\n", 505)]
    [InlineData("GET /etc/passwd HTTP/1.0\r\n\r\n", 404)]
    [InlineData("DELETE /health HTTP/1.0\r\n\r\n", 405)]
    [InlineData("BREW /metrics HTTP/1.0\r\n\r\n", 405)]
    public async Task Unknown_request_is_refused_and_its_connection_closed(string sent, int status)
    {
        await using var daemon = await DaemonProcess.StartAsync();
        using var client = Connect(daemon.MetricsPort);

        client.Send(Encoding.Latin1.GetBytes(sent));

        var answer = Encoding.ASCII.GetString(await TestClient.ReadToEndAsync(client));
        Assert.StartsWith(string.Create(CultureInfo.InvariantCulture, $"HTTP/1.1 {status} "), answer,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\u0016\u0003\u0001")]
    [InlineData("head of 8 KiB without end")]
    public async Task Connection_that_can_bring_no_request_is_closed_at_once(string sent)
    {
        await using var daemon = await DaemonProcess.StartAsync();
        using var client = Connect(daemon.MetricsPort);

        client.Send(Encoding.Latin1.GetBytes(sent.PadRight(sent[0] == 'h' ? 8 * 1024 : 0, 'x')));

        // A reset, because the daemon did not read what was sent.
        Assert.Equal(SocketError.ConnectionReset,
            Assert.Throws<SocketException>(() => FirstLine(client)).SocketErrorCode);
    }

    /// <summary>Sends a probe and returns the first line of the answer. Throws if it does not arrive in time.
    /// </summary>
    private static string Ask(DaemonProcess daemon)
    {
        using var socket = Connect(daemon.MetricsPort);
        socket.Send(Encoding.ASCII.GetBytes(Probe));
        return FirstLine(socket);
    }

    private static Socket Connect(int port)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        { ReceiveTimeout = PromiseMs, SendTimeout = PromiseMs };
        socket.Connect(IPAddress.Loopback, port);
        return socket;
    }

    private static string FirstLine(Socket socket)
    {
        var buffer = new byte[4096];
        var count = socket.Receive(buffer);
        return Encoding.ASCII.GetString(buffer, 0, count).Split('\r')[0];
    }

    /// <summary>Connections that a separate thread opens as fast as it can, and holds.</summary>
    private sealed class Crowd : IDisposable
    {
        private readonly List<Socket> _sockets = [];
        private readonly Thread _thread;

        public Crowd(int port, int count, byte[] sent)
        {
            _thread = new Thread(() =>
            {
                for (var i = 0; i < count; i++)
                    Open(port, sent);
            });
            _thread.Start();
        }

        public bool IsGathered => !_thread.IsAlive;

        public void Gather() => _thread.Join();

        public void Dispose()
        {
            Gather();
            _sockets.ForEach(s => s.Dispose());
        }

        private void Open(int port, byte[] sent)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
            { SendTimeout = PromiseMs };
            _sockets.Add(socket);
            try
            {
                socket.Connect(IPAddress.Loopback, port);
                if (sent.Length > 0)
                    socket.Send(sent);
            }
            catch (SocketException)
            {
                // The daemon has closed it already.
            }
        }
    }
}
