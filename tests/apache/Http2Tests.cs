namespace StreamingDaemon.ApacheTests;

/// <summary>
/// A site over HTTP/2, whose clients ask again over HTTP/1.1 for what is handed over. tests/vm streams like this, and
/// to a browser: that needs a kernel that has TLS.
/// </summary>
public sealed class Http2Tests : IDisposable
{
    private readonly TemporaryCertificate _certificate = new();

    public void Dispose() => _certificate.Dispose();

    private ApacheServer Start(int port, string settings) => new(Stack.EventWithPhpFpm, extra: $$"""
        {{Tools.LoadModule("http2")}}
        {{Tools.LoadModule("socache_shmcb")}}
        {{Tools.LoadModule("ssl")}}
        Listen 127.0.0.1:{{port}}
        SSLSessionCache none
        <VirtualHost *:{{port}}>
            Protocols h2 http/1.1
            SSLEngine on
            SSLCertificateFile {{_certificate.Path}}
            {{settings}}
        </VirtualHost>
        """);

    /// <summary>A script that notes each of its runs, with the version and the body of the request.</summary>
    private static void AddScript(ApacheServer apache, string directory)
    {
        Directory.CreateDirectory($"{apache.Root}/www/{directory}");
        File.WriteAllText($"{apache.Root}/www/{directory}/runs.php", """
            <?php
            echo $_SERVER['SERVER_PROTOCOL'], ' ', file_get_contents('php://input'), "\n";
            """);
    }

    private static string Ask(int port, string path, params string[] arguments) =>
        Curl.Run(["-k", "-i", "--http2", .. arguments, $"https://127.0.0.1:{port}{path}"]);

    [Theory]
    [InlineData("")]
    [InlineData("ErrorDocument 403 /errors/runs.php")]
    public void Client_asks_again_over_http11_and_the_application_runs_once(string settings)
    {
        int port = ApacheServer.FreePort();
        using var apache = Start(port, $"""
            {settings}
            <Location /chat11/>
                SocketHandoffRequireHttp11 On
            </Location>
            """);
        AddScript(apache, "chat11");
        AddScript(apache, "errors");
        AddScript(apache, "site");

        var answer = Ask(port, "/chat11/runs.php", "-d", "prompt=hello");

        Assert.StartsWith("HTTP/1.1 200 ", answer, StringComparison.Ordinal);
        Assert.EndsWith("HTTP/1.1 prompt=hello\n", answer, StringComparison.Ordinal);
        Assert.Single(apache.Log.Split('\n'), line => line.Contains("told to ask again", StringComparison.Ordinal));
        var site = Ask(port, "/site/runs.php", "-d", "prompt=hello");
        Assert.StartsWith("HTTP/2 200", site, StringComparison.Ordinal);
        Assert.EndsWith("HTTP/2.0 prompt=hello\n", site, StringComparison.Ordinal);
    }

    [Fact]
    public void Htaccess_can_ask_for_http11_and_a_directory_below_can_take_it_back()
    {
        int port = ApacheServer.FreePort();
        using var apache = Start(port, """
            <Directory {_root}/www/site>
                AllowOverride FileInfo
            </Directory>
            """);
        AddScript(apache, "site/chat11");
        AddScript(apache, "site/chat11/open");
        AddScript(apache, "site/chat11/off");
        File.WriteAllText(apache.Root + "/www/site/chat11/.htaccess", "SocketHandoffRequireHttp11 On\n");
        File.WriteAllText(apache.Root + "/www/site/chat11/open/.htaccess", "SocketHandoffRequireHttp11 Off\n");
        File.WriteAllText(apache.Root + "/www/site/chat11/off/.htaccess", "SocketHandoffEnabled Off\n");

        Assert.StartsWith("HTTP/1.1 200 ", Ask(port, "/site/chat11/runs.php"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/2 200", Ask(port, "/site/chat11/open/runs.php"), StringComparison.Ordinal);
        // Nothing is handed over there, so nothing needs HTTP/1.1.
        Assert.StartsWith("HTTP/2 200", Ask(port, "/site/chat11/off/runs.php"), StringComparison.Ordinal);
    }

    [Fact]
    public void Client_that_speaks_http11_is_never_sent_away()
    {
        int port = ApacheServer.FreePort();
        using var apache = Start(port, "SocketHandoffRequireHttp11 On");
        AddScript(apache, "chat11");

        Assert.StartsWith("HTTP/1.1 200 ", Ask(port, "/chat11/runs.php", "--http1.1"), StringComparison.Ordinal);
        Assert.DoesNotContain("told to ask again", apache.Log, StringComparison.Ordinal);
    }
}
