using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class PreconnectorTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task The_connection_after_the_second_is_open_before_a_stream_needs_it()
    {
        await using var upstream = await BackendUnderTest.StartAsync(
            FakeLlmTransport.Http2Tls, scenario: FinishWhenToldAsync, streamsPerConnection: 1);
        var first = upstream.StreamAsync();
        var firstRequest = await upstream.Server.NextRequestAsync(TestLimits.Wait);
        await Eventually.TrueAsync(() => upstream.Sink.Started == 1);
        Assert.Equal(1, upstream.Server.ConnectionsSoFar);

        var second = upstream.StreamAsync();
        var secondRequest = await upstream.Server.NextRequestAsync(TestLimits.Wait);
        await Eventually.TrueAsync(() => upstream.Server.OpenConnections == 3);

        Assert.Equal(2, upstream.Server.Requests.Count);
        firstRequest.Proceed();
        secondRequest.Proceed();
        Assert.Equal(StreamOutcome.Completed, (await first).Outcome);
        Assert.Equal(StreamOutcome.Completed, (await second).Outcome);
    }

    [Fact]
    public async Task Many_connections_one_after_the_other_carry_a_stream_each_and_one_waits()
    {
        const int streams = 12;
        await using var upstream = await BackendUnderTest.StartAsync(
            FakeLlmTransport.Http2Tls, scenario: FinishWhenToldAsync, streamsPerConnection: 1);

        var answers = new List<Task<BackendResult>>();
        for (var i = 0; i < streams; i++)
        {
            answers.Add(upstream.StreamAsync());
            await upstream.Server.NextRequestAsync(TestLimits.Wait);
            await Eventually.TrueAsync(() => upstream.Sink.Started == i + 1);
        }

        foreach (var request in upstream.Server.Requests)
            request.Proceed();

        Assert.All(await Task.WhenAll(answers), result => Assert.Equal(StreamOutcome.Completed, result.Outcome));
        Assert.Equal(streams, upstream.Server.Requests.DistinctBy(r => r.ConnectionId).Count());
        Assert.All(upstream.Server.Requests, request => Assert.Equal("HTTP/2", request.Protocol));
        await Eventually.TrueAsync(() => upstream.Server.ConnectionsSoFar == streams + 1);
    }

    [Fact]
    public async Task Streams_that_one_connection_is_enough_for_open_no_other()
    {
        await using var upstream = await BackendUnderTest.StartAsync(FakeLlmTransport.Http2Tls);
        for (var i = 0; i < 20; i++)
            Assert.Equal(StreamOutcome.Completed, (await upstream.StreamAsync()).Outcome);
        Assert.Equal(1, upstream.Server.ConnectionsSoFar);
    }

    [Fact]
    public async Task What_stands_ready_is_handed_out_once_with_its_TLS_and_the_next_opened()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        using var standby = Create(s_long);
        Assert.IsType<NetworkStream>(await ConnectAsync(standby, server));
        standby.OnAnswer();
        Assert.IsType<NetworkStream>(await ConnectAsync(standby, server));
        await Eventually.TrueAsync(() => standby.IsReady);

        standby.OnAnswer();
        var ready = Assert.IsType<SslStream>(await ConnectAsync(standby, server));

        Assert.Equal(SslApplicationProtocol.Http2, ready.NegotiatedApplicationProtocol);
        await Eventually.TrueAsync(() => standby.IsReady);
        var next = Assert.IsType<SslStream>(await ConnectAsync(standby, server));
        Assert.NotSame(ready, next);
        await ready.DisposeAsync();
        await next.DisposeAsync();
    }

    [Fact]
    public async Task What_the_upstream_has_closed_meanwhile_is_not_handed_out()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        using var standby = Create(s_long);
        await MakeReadyAsync(standby, server);

        await Eventually.TrueAsync(() => server.OpenConnections == 1);
        server.AbortConnections();
        await Eventually.TrueAsync(() => !standby.IsReady);

        Assert.IsType<NetworkStream>(await ConnectAsync(standby, server));
    }

    [Fact]
    public async Task What_nobody_needed_is_closed_after_its_time()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        using var standby = Create(TimeSpan.FromMilliseconds(20));
        await ConnectAsync(standby, server);
        standby.OnAnswer();
        await ConnectAsync(standby, server);
        await Eventually.TrueAsync(() => server is { ConnectionsSoFar: 1, OpenConnections: 0 });
        Assert.False(standby.IsReady);
    }

    [Fact]
    public async Task Disposing_closes_what_stands_ready()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        var standby = Create(s_long);
        await MakeReadyAsync(standby, server);
        await Eventually.TrueAsync(() => server.OpenConnections == 1);

        standby.Dispose();

        await Eventually.TrueAsync(() => server.OpenConnections == 0);
    }

    [Fact]
    public async Task Upstream_without_HTTP2_is_asked_for_one_ahead_only_once()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1Tls);
        using var standby = Create(s_long);
        await ConnectAsync(standby, server);
        standby.OnAnswer();
        await ConnectAsync(standby, server);
        await Eventually.TrueAsync(() => server is { ConnectionsSoFar: 1, OpenConnections: 0 });
        for (var i = 0; i < 10; i++)
        {
            standby.OnAnswer();
            Assert.IsType<NetworkStream>(await ConnectAsync(standby, server));
        }

        Assert.Equal(1, server.ConnectionsSoFar);
    }

    [Fact]
    public async Task Upstream_whose_certificate_is_refused_costs_the_client_nothing_but_its_own_attempt()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        using var standby = new Preconnector(
            TestLimits.Wait, s_long, new SslClientAuthenticationOptions { TargetHost = "127.0.0.1" });
        for (var i = 0; i < 10; i++)
        {
            standby.OnAnswer();
            Assert.IsType<NetworkStream>(await ConnectAsync(standby, server));
        }
    }

    [Fact]
    public async Task Upstream_that_has_not_answered_since_the_last_connection_is_not_asked_for_one_ahead()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        using var standby = Create(s_long);
        for (var i = 0; i < 10; i++)
            Assert.IsType<NetworkStream>(await ConnectAsync(standby, server));
        Assert.Equal(0, server.ConnectionsSoFar);
    }

    private static Preconnector Create(TimeSpan lifetime) =>
        new(TestLimits.Wait, lifetime, new SslClientAuthenticationOptions
        {
            TargetHost = "127.0.0.1",
            ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11],
            RemoteCertificateValidationCallback =
                (_, _, _, errors) => !errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable),
        });

    private static async Task<Stream> ConnectAsync(Preconnector standby, FakeLlmServer server)
    {
        var stream = await standby.ConnectAsync(
            new DnsEndPoint(server.BaseAddress.Host, server.BaseAddress.Port), CancellationToken.None);
        // The handler would add TLS, which is not tested here.
        if (stream is NetworkStream)
            await stream.DisposeAsync();
        return stream;
    }

    private static async Task MakeReadyAsync(Preconnector standby, FakeLlmServer server)
    {
        await ConnectAsync(standby, server);
        standby.OnAnswer();
        await ConnectAsync(standby, server);
        await Eventually.TrueAsync(() => standby.IsReady);
    }

    private static async Task FinishWhenToldAsync(FakeLlmExchange exchange)
    {
        await exchange.StartAsync();
        await exchange.Proceed;
        await exchange.SendDeltaAsync("x");
        await exchange.SendFinishAsync();
        await exchange.SendDoneAsync();
    }
}
