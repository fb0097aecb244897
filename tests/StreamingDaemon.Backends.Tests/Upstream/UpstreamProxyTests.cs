using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class UpstreamProxyTests
{
    [Theory]
    [InlineData("https://api.example/v1", "HTTPS_PROXY=http://p:1", "http://p:1")]
    [InlineData("https://api.example/v1", "https_proxy=p:1 HTTPS_PROXY=q:2", "http://p:1")]
    [InlineData("https://api.example/v1", "https_proxy= HTTPS_PROXY=q:2", "http://q:2")]
    [InlineData("https://api.example/v1", "HTTP_PROXY=p:1", null)]
    [InlineData("http://api.example/v1", "HTTP_PROXY=p:1 HTTPS_PROXY=q:2", "http://p:1")]
    [InlineData("http://api.example/v1", "ALL_PROXY=socks5h://p:1", "socks5://p:1")]
    [InlineData("https://api.example/v1", "HTTPS_PROXY=http://me:secret@p:1", "http://p:1")]
    [InlineData("http://localhost:8080/v1", "ALL_PROXY=p:1", null)]
    [InlineData("http://llm.localhost/v1", "ALL_PROXY=p:1", null)]
    [InlineData("http://127.3.2.1/v1", "ALL_PROXY=p:1", null)]
    [InlineData("http://[::1]:8080/v1", "ALL_PROXY=p:1", null)]
    [InlineData("http://[::ffff:127.0.0.1]/v1", "ALL_PROXY=p:1", null)]
    [InlineData("http://10.1.2.3/v1", "ALL_PROXY=p:1", "http://p:1")]
    public void Environment_names_the_proxy_and_loopback_never_has_one(
        string upstream, string environment, string? expected) => Assert.Equal(expected, Find(upstream, environment));

    [Theory]
    [InlineData("https://api.example/v1", "*", true)]
    [InlineData("https://api.example/v1", "api.example", true)]
    [InlineData("https://api.example/v1", "EXAMPLE", true)]
    [InlineData("https://api.example/v1", ".example", true)]
    [InlineData("https://api.example/v1", "*.example", true)]
    [InlineData("https://api.example/v1", "a,b;api.example", true)]
    [InlineData("https://api.example/v1", "pi.example", false)]
    [InlineData("https://api.example/v1", "api.example:443", true)]
    [InlineData("https://api.example/v1", "api.example:8443", false)]
    [InlineData("https://api.example/v1", ".", false)]
    [InlineData("http://10.1.2.3:80/v1", "10.1.2.3", true)]
    [InlineData("http://10.1.2.3:80/v1", "10.1.2.3:80", true)]
    [InlineData("http://10.1.2.3/v1", "10.0.0.0/8", true)]
    [InlineData("http://10.1.2.3/v1", "10.2.0.0/16", false)]
    [InlineData("http://[fd00::7]/v1", "fd00::/8", true)]
    [InlineData("http://[fd00::7]:80/v1", "[fd00::7]:80", true)]
    [InlineData("http://10.1.2.3/v1", "10.9.9.9/8", true)]
    [InlineData("http://10.1.2.3/v1", "11.9.9.9/8", false)]
    [InlineData("http://[fd00::7]/v1", "fd00::1/8", true)]
    [InlineData("http://[fd00::7]/v1", "[fd00::]/8", true)]
    [InlineData("http://[fd00::7]/v1", "[fd00::7]", true)]
    [InlineData("http://[fd00::7]/v1", "FD00:0::7", true)]
    [InlineData("http://[::ffff:10.1.2.3]/v1", "10.0.0.0/8", true)]
    [InlineData("http://10.1.2.3/v1", "10.0.0.0/33", false)]
    [InlineData("http://10.1.2.3/v1", "10.0.0.0/", false)]
    [InlineData("http://10.1.2.3:8000/v1", "10.0.0.0/8:8000", true)]
    [InlineData("https://api.example/v1", "*.example:443", true)]
    [InlineData("https://api.example/v1", "API.Example.", true)]
    [InlineData("https://api.example./v1", "api.example", true)]
    public void No_proxy_excepts_hosts_domains_addresses_and_networks(
        string upstream, string exceptions, bool isExcepted)
    {
        foreach (var name in (string[])["NO_PROXY", "no_proxy"])
        {
            Assert.Equal(
                isExcepted ? null : "http://p:1", Find(upstream, $"ALL_PROXY=p:1 {name}={exceptions}"));
        }
    }

    [Theory]
    [InlineData("ftp://p:1")]
    [InlineData("http://")]
    [InlineData("http://me:secret@p:x")]
    public void Wrong_address_is_refused_by_the_variable_s_name_without_its_value(string value)
    {
        var problem = UpstreamProxy.Find(new Uri("https://api.example/v1"),
            name => name == "HTTPS_PROXY" ? value : null, out var proxy);
        Assert.Null(proxy);
        Assert.StartsWith("HTTPS_PROXY is not the address of a proxy", problem, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(FakeLlmTransport.Http1, "http", "POST http://llm.example", "HTTP/1.1")]
    [InlineData(FakeLlmTransport.Http1Tls, "https", "CONNECT llm.example", "HTTP/1.1")]
    [InlineData(FakeLlmTransport.Http2Tls, "https", "CONNECT llm.example", "HTTP/2")]
    public async Task Upstream_that_only_the_proxy_reaches_is_reached_through_it(
        FakeLlmTransport transport, string scheme, string request, string protocol)
    {
        await using var server = await FakeLlmServer.StartAsync(transport, streamsPerConnection: 1);
        await using var proxy = new FakeProxy(server.BaseAddress.Port);
        using var backend = Through(proxy.Authority, scheme);

        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(StreamOutcome.Completed,
                (await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit()).Outcome);
        }

        Assert.All(proxy.RequestLines, line => Assert.StartsWith(request, line, StringComparison.Ordinal));
        Assert.All(server.Requests, seen => Assert.Equal(protocol, seen.Protocol));
        // None went round it. One that the client opened in advance may still be on its way from the proxy.
        await Eventually.TrueAsync(() => server.ConnectionsSoFar == proxy.RequestLines.Count);
    }

    [Fact]
    public async Task Name_and_password_of_the_proxy_are_sent_to_it_alone()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        await using var proxy = new FakeProxy(server.BaseAddress.Port, refusal: 407);
        using var backend = Through("me:p%40ss@" + proxy.Authority, "https");
        Assert.Equal(StreamOutcome.Completed,
            (await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit()).Outcome);
        Assert.Equal(["me:p@ss"], proxy.Credentials);
        Assert.DoesNotContain("Proxy-Authorization", server.Requests.Single().Headers.Keys);
    }

    [Theory]
    [InlineData("Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm=\"x\"")]
    [InlineData("Proxy-Authenticate: Negotiate, Basic realm=\"x\"")]
    [InlineData("Proxy-Authenticate: Basic realm=\"x\"\r\nConnection: close")]
    [InlineData("Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: Basic realm=\"x\"\r\nProxy-Connection: close\r\nConnection: close")]
    public async Task Name_and_password_are_sent_as_basic_whatever_else_the_proxy_offers(string challenges)
    {
        foreach (var (transport, scheme) in new[] { (FakeLlmTransport.Http1, "http"), (FakeLlmTransport.Http2Tls, "https") })
        {
            await using var server = await FakeLlmServer.StartAsync(transport);
            await using var proxy = new FakeProxy(server.BaseAddress.Port, refusal: 407, challenges);
            using var backend = Through("me:secret@" + proxy.Authority, scheme);
            var result = await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();
            Assert.Equal((StreamOutcome.Completed, null), (result.Outcome, result.Reason));
            Assert.Equal(["me:secret"], proxy.Credentials);
        }
    }

    [Theory]
    [InlineData(407, 1)]
    [InlineData(403, 1)]
    [InlineData(502, 3)]
    public async Task Proxy_that_refuses_is_named_and_retried_only_if_that_may_pass(int status, int attempts)
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        await using var proxy = new FakeProxy(server.BaseAddress.Port, refusal: status);
        using var backend = Through(proxy.Authority, "https");
        var sink = new RecordingSink();

        var result = await backend.StreamAsync(BackendUnderTest.Prompt, sink, default).WithinLimit();

        Assert.Equal((UpstreamFault.Connect, attempts - 1), (result.Fault, sink.Retries.Count));
        Assert.Contains($"HTTPS_PROXY: the proxy answered HTTP {status}", result.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Proxy_that_stays_silent_is_named_after_the_time_limit_for_a_connection()
    {
        await using var proxy = new BrokenServer(BrokenServerKind.Mute);
        using var backend = Through(proxy.BaseAddress().Authority, "https", connectTimeoutMs: 200);
        var result = await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();
        Assert.Equal(UpstreamFault.ConnectTimeout, result.Fault);
        Assert.StartsWith("no connection to the upstream through the proxy of HTTPS_PROXY within 200 ms",
            result.Reason, StringComparison.Ordinal);
    }

    private static OpenAIBackend Through(string proxy, string scheme, int connectTimeoutMs = 10_000) =>
        BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ConnectTimeoutMs = connectTimeoutMs,
            ApiKey = BackendUnderTest.ApiKey,
            ApiBase = new Uri(scheme + "://llm.example/v1"),
            InsecureSsl = true,
            Environment = name => name is "HTTP_PROXY" or "HTTPS_PROXY" ? "http://" + proxy : null,
        });

    private static string? Find(string upstream, string environment)
    {
        var variables = environment.Split(' ').Select(pair => pair.Split('=', 2))
            .ToDictionary(pair => pair[0], pair => pair[1]);
        Assert.Null(UpstreamProxy.Find(
            new Uri(upstream), name => variables.GetValueOrDefault(name), out var proxy));
        return proxy?.Address;
    }
}
