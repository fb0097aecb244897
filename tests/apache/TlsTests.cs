namespace StreamingDaemon.ApacheTests;

/// <summary>
/// TLS that ends in httpd, on the kernel of this machine, which may have no TLS. tests/vm streams over one that has.
/// </summary>
public sealed class TlsTests
{
    private static readonly string s_loaded = $"LoadModule socket_handoff_tls_module {Tools.TlsModule}";

    private static string Https(int port, string certificate, string more = "") => $$"""
        {{Tools.LoadModule("socache_shmcb")}}
        {{Tools.LoadModule("ssl")}}
        Listen 127.0.0.1:{{port}}
        SSLSessionCache none
        {{more}}
        <VirtualHost *:{{port}}>
            SSLEngine on
            SSLCertificateFile {{certificate}}
        </VirtualHost>
        """;

    [Fact]
    public void Tls_without_the_module_for_it_is_a_500_with_a_reason_in_the_log()
    {
        int port = ApacheServer.FreePort();
        using var certificate = new TemporaryCertificate();
        using var apache = new ApacheServer(Stack.EventWithPhpFpm, extra: Https(port, certificate.Path));
        string answer = Curl.Run("-i", "-k", "--http1.1", $"https://127.0.0.1:{port}{ApacheServer.HandoffPath(apache.DefaultSocket)}");

        Assert.StartsWith("HTTP/1.1 500 ", answer, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
        Assert.Contains("mod_socket_handoff_tls is not loaded", apache.Log, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(SharedServers.Both), MemberType = typeof(SharedServers))]
    public void Stream_over_tls_or_a_500_is_what_the_start_announced(Stack stack)
    {
        int port = ApacheServer.FreePort();
        using var certificate = new TemporaryCertificate();
        using var apache = new ApacheServer(stack, extra: Https(port, certificate.Path, s_loaded));
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        apache.WaitForLog("socket handoff: the kernel ");
        bool can = apache.Log.Contains("the kernel can send TLS", StringComparison.Ordinal);
        string site = $"https://127.0.0.1:{port}";

        string answer = Curl.Run("-i", "-k", "--http1.1", site + ApacheServer.HandoffPath(apache.DefaultSocket));

        Assert.StartsWith(can ? "HTTP/1.1 200 " : "HTTP/1.1 500 ", answer, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
        Assert.Contains(can ? "server=1" : "server=none", Curl.Run("-k", "--http1.1", site + "/environment.php"),
            StringComparison.Ordinal);
        if (can)
            Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
        else
            Assert.Contains("the kernel has no TLS for sending: modprobe tls", apache.Log, StringComparison.Ordinal);
        Assert.Equal("plain\n", Curl.Run("-k", "--http1.1", site + "/plain.txt"));
    }

    [Fact]
    public void Tls_that_is_off_says_so()
    {
        int port = ApacheServer.FreePort();
        using var certificate = new TemporaryCertificate();
        using var apache = new ApacheServer(Stack.EventWithPhpFpm,
            extra: Https(port, certificate.Path, s_loaded + "\nSocketHandoffTls Off"));

        Assert.Equal(500, Curl.Status("-k", "--http1.1",
            $"https://127.0.0.1:{port}{ApacheServer.HandoffPath(apache.DefaultSocket)}"));
        Assert.Contains("SocketHandoffTls is Off", apache.Log, StringComparison.Ordinal);
        Assert.DoesNotContain("socket handoff: the kernel ", apache.Log, StringComparison.Ordinal);
    }

    [Fact]
    public void Module_for_tls_loads_without_mod_ssl()
    {
        using var apache = new ApacheServer(Stack.PreforkWithModPhp, extra: s_loaded);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);

        Assert.EndsWith("data: [DONE]\n\n", Curl.Run(apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket))),
            StringComparison.Ordinal);
    }
}
