using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class DialerTests
{
    [Theory]
    [InlineData("1:: 2:: 3:: 10.0.0.1 10.0.0.2", "1:: 10.0.0.1 2:: 10.0.0.2 3::")]
    [InlineData("10.0.0.1 10.0.0.2 1::", "10.0.0.1 1:: 10.0.0.2")]
    [InlineData("10.0.0.1 10.0.0.1", "10.0.0.1")]
    [InlineData("1:: 2::", "1:: 2::")]
    public void Families_take_turns_in_the_resolver_s_order(string resolved, string expected) =>
        Assert.Equal(expected, InTurns(resolved, _ => false));

    [Fact]
    public void Overtaken_address_goes_to_the_end() => Assert.Equal(
        "10.0.0.1 2:: 10.0.0.2 1::",
        InTurns("1:: 2:: 10.0.0.1 10.0.0.2", address => address.Equals(IPAddress.Parse("1::"))));

    [Theory]
    [InlineData(FakeLlmTransport.Http1)]
    [InlineData(FakeLlmTransport.H2c)]
    [InlineData(FakeLlmTransport.Http2Tls)]
    public async Task Dead_first_address_costs_250_ms_once_and_no_stream(FakeLlmTransport transport)
    {
        await using var server = await FakeLlmServer.StartAsync(transport, streamsPerConnection: 1);
        using var dead = DeadAddress(server.BaseAddress.Port);
        using var backend = BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ApiKey = BackendUnderTest.ApiKey,
            ApiBase = new UriBuilder(server.BaseAddress) { Host = "llm.example" }.Uri,
            Resolve = BothLoopbacks,
            InsecureSsl = true,
        });

        for (var i = 0; i < 3; i++)
        {
            var start = Stopwatch.GetTimestamp();
            Assert.Equal(StreamOutcome.Completed,
                (await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit()).Outcome);
            Assert.InRange(Stopwatch.GetElapsedTime(start), TimeSpan.Zero, TimeSpan.FromSeconds(2));
        }
    }

    [Theory]
    [InlineData("llm.example")]
    [InlineData("::ffff:127.0.0.1")]
    public async Task Address_of_IPv4_in_the_form_of_IPv6_is_reached(string host)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var dialer = new Dialer((_, _) => Task.FromResult<IPAddress[]>([IPAddress.Parse("::ffff:127.0.0.1")]));
        var upstream = new DnsEndPoint(host, ((IPEndPoint)listener.LocalEndpoint).Port);
        using var socket = await dialer.ConnectAsync(upstream, default).AsTask().WithinLimit();
        Assert.True(socket.Connected);
    }

    [Fact]
    public async Task Refused_address_is_followed_by_the_next_at_once_and_all_of_them_by_the_error()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var host = new DnsEndPoint("llm.example", ((IPEndPoint)listener.LocalEndpoint).Port);
        var dialer = new Dialer(BothLoopbacks);
        using (var socket = await dialer.ConnectAsync(host, default).AsTask().WithinLimit())
            Assert.True(socket.Connected);

        listener.Stop();

        var error = await Assert.ThrowsAsync<SocketException>(
            () => dialer.ConnectAsync(host, default).AsTask().WithinLimit());
        Assert.Equal(SocketError.ConnectionRefused, error.SocketErrorCode);
    }

    [Fact]
    public async Task Race_that_is_cancelled_ends_at_once()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start(0);
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        using var filled4 = Filled(IPAddress.Loopback, port);
        using var dead6 = DeadAddress(port);
        using var cancelled = new CancellationTokenSource();
        var connecting = new Dialer(BothLoopbacks).ConnectAsync(new DnsEndPoint("llm.example", port), cancelled.Token).AsTask();
        Assert.False(connecting.IsCompleted);
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => connecting.WithinLimit());
    }

    private static string InTurns(string addresses, Predicate<IPAddress> isSlow) => string.Join(' ',
        Dialer.InTurns([.. addresses.Split(' ').Select(IPAddress.Parse)], isSlow).Select(a => a.ToString()));

    private static Task<IPAddress[]> BothLoopbacks(string host, CancellationToken cancellationToken) =>
        Task.FromResult<IPAddress[]>([IPAddress.IPv6Loopback, IPAddress.Loopback]);

    /// <summary>::1 with this port, whose accept queue is full: it answers no SYN.</summary>
    private static FullQueue DeadAddress(int port)
    {
        var listener = new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.IPv6Loopback, port));
        listener.Listen(0);
        return Filled(IPAddress.IPv6Loopback, port, listener);
    }

    private static FullQueue Filled(IPAddress address, int port, params Socket[] listeners)
    {
        var sockets = new List<Socket>(listeners);
        while (true)
        {
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            sockets.Add(socket);
            if (!socket.ConnectAsync(new IPEndPoint(address, port)).Wait(300))
                return new FullQueue(sockets);
        }
    }

    private sealed class FullQueue(List<Socket> sockets) : IDisposable
    {
        public void Dispose() => sockets.ForEach(socket => socket.Dispose());
    }
}
