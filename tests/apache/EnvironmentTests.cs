namespace StreamingDaemon.ApacheTests;

/// <summary>Where the module is on, and that PHP can see it.</summary>
public sealed class EnvironmentTests(SharedServers servers)
{
    private const string On = "server=1 getenv=1";
    private const string Off = "server=none getenv=none";

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Php_sees_whether_the_module_is_on(Stack stack)
    {
        var apache = servers[stack];
        Assert.Equal(On, Curl.Run(apache.Url("/environment.php")).Trim());
        Assert.Equal(Off, Curl.Run("-H", "Host: disabled.test", apache.Url("/environment.php")).Trim());
        // A client cannot say it.
        Assert.Equal(Off, Curl.Run("-H", "Host: disabled.test", "-H", "SOCKET_HANDOFF: 1", "-H",
            "Socket-Handoff: 1", apache.Url("/environment.php")).Trim());
    }

    [Theory, MemberData(nameof(Both))]
    public void Endpoint_without_the_module_is_a_503_and_does_not_send_the_prompt_to_the_browser(Stack stack)
    {
        var apache = servers[stack];
        const string Secret = "what nobody else may read";
        foreach (var (path, body) in new[]
                 {
                     ("/chat/stream.php", $$"""{"prompt":"{{Secret}}"}"""),
                     ("/chat/openai.php/chat/completions",
                         $$"""{"stream":true,"messages":[{"role":"user","content":"{{Secret}}"}]}"""),
                 })
        {
            string answer = Curl.Run("-i", "-H", "Host: disabled.test", "-H", "Content-Type: application/json",
                "-d", body, apache.Url(path));

            Assert.StartsWith("HTTP/1.1 503 ", answer, StringComparison.Ordinal);
            Assert.Contains("handoff_unavailable", answer, StringComparison.Ordinal);
            Assert.DoesNotContain(Secret, answer, StringComparison.Ordinal);
        }
    }

    [Theory, MemberData(nameof(Both))]
    public void Directory_and_htaccess_switch_the_module(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: """
            <Directory {_root}/www/off>
                SocketHandoffEnabled Off
            </Directory>
            <Directory {_root}/www>
                AllowOverride FileInfo
            </Directory>
            <Location /never>
                SocketHandoffEnabled Off
            </Location>
            Alias /never {_root}/www
            """);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        CopyTo(apache, "off");
        CopyTo(apache, "off/on");
        File.WriteAllText(apache.Root + "/www/off/on/.htaccess", "SocketHandoffEnabled On\n");
        CopyTo(apache, "site");
        File.WriteAllText(apache.Root + "/www/site/.htaccess", "SocketHandoffEnabled Off\n");

        string handoff = ApacheServer.HandoffPath(apache.DefaultSocket);
        foreach (var (directory, on) in new[]
        {
            ("", true), ("/off", false), ("/off/on", true), ("/site", false), ("/never", false),
        })
        {
            Assert.Equal(on ? On : Off, Curl.Run(apache.Url(directory + "/environment.php")).Trim());
            string answer = Curl.Run("-i", apache.Url(directory + handoff));
            Expect.NoHandoffHeaders(answer);
            if (on)
                Expect.WholeStream(answer);
            else
                Assert.EndsWith("from the application", answer.Trim(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Connection_that_cannot_be_handed_over_is_not_announced_to_php()
    {
        int port = ApacheServer.FreePort();
        using var certificate = new TemporaryCertificate();
        using var apache = new ApacheServer(Stack.EventWithPhpFpm, extra: $$"""
            {{Tools.LoadModule("http2")}}
            Protocols h2c http/1.1
            {{Tools.LoadModule("socache_shmcb")}}
            {{Tools.LoadModule("ssl")}}
            Listen 127.0.0.1:{{port}}
            SSLSessionCache none
            <VirtualHost *:{{port}}>
                SSLEngine on
                SSLCertificateFile {{certificate.Path}}
            </VirtualHost>
            """);
        string url = apache.Url("/environment.php");
        Assert.Equal(On, Curl.Run("--http1.1", url).Trim());
        Assert.Equal(Off, Curl.Run("--http2-prior-knowledge", url).Trim());
        Assert.Equal(Off, Curl.Run("-k", "--http1.1", $"https://127.0.0.1:{port}/environment.php").Trim());
    }

    [Theory, MemberData(nameof(Both))]
    public void Httpd_without_the_module_sends_no_handoff_to_the_client_with_the_example_s_lines(Stack stack)
    {
        string strip = Path.Combine(Tools.Repository, "apache", "handoff-strip.conf");
        using var apache = new ApacheServer(stack, module: "", extra: "Include " + strip);
        foreach (string more in new[] { "", "&status=404" })
        {
            string answer = Curl.Run("-i", apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket, data: null,
                "&bytes=212960&line=8000" + more)));
            Expect.NoHandoffHeaders(answer);
            Assert.EndsWith("from the application", answer.Trim(), StringComparison.Ordinal);
            Expect.NoHandoffHeaders(Curl.Run("-i", apache.Url(
                ApacheServer.HandoffPath(apache.DefaultSocket, "secret", more))));
        }
    }

    [Theory, MemberData(nameof(Both))]
    public void Stream_php_refuses_if_the_prompt_would_go_to_the_browser(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: "SocketHandoffEnabled Off");
        string answer = Curl.Run("-i", "-d", "prompt=secret", apache.Url("/chat/stream.php"));

        Assert.StartsWith("HTTP/1.1 503 ", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", answer, StringComparison.Ordinal);
    }

    private static void CopyTo(ApacheServer apache, string directory)
    {
        Directory.CreateDirectory(Path.Combine(apache.Root, "www", directory));
        foreach (string script in new[] { "environment.php", "handoff.php" })
            File.Copy(Path.Combine(apache.Root, "www", script), Path.Combine(apache.Root, "www", directory, script));
    }
}
