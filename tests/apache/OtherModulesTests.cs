namespace StreamingDaemon.ApacheTests;

/// <summary>Handoffs beside what else sites have in httpd: filters, caches, rewriting, proxies, kinds of processes.</summary>
public sealed class OtherModulesTests
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Filters_and_caches_leave_the_stream_alone_and_the_application_s_headers_too(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: $$"""
            {{Load("filter", "deflate", "ratelimit", "buffer", "substitute", "expires", "cache", "cache_disk")}}
            CacheRoot {_root}/sessions
            CacheQuickHandler off
            CacheIgnoreNoLastMod On
            CacheDefaultExpire 600
            <Location /front.php>
                CacheEnable disk
                SetOutputFilter BUFFER;SUBSTITUTE;DEFLATE;RATE_LIMIT
                SetEnv rate-limit 1
                Substitute s/foo/bar/
                ExpiresActive On
                ExpiresDefault "access plus 1 day"
            </Location>
            """);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        foreach (int _ in (int[])[1, 2])
        {
            string answer = Curl.Run("-i", "--compressed", apache.Url("/front.php?header[]=Last-Modified:+Mon"), "-g");
            Expect.WholeStream(answer);
            Expect.NoHandoffHeaders(answer);
            string[] vary = [.. answer.Split('\n').Where(line => line.StartsWith("Vary: ", StringComparison.Ordinal))];
            Assert.Contains(vary, line => line.Contains("Origin", StringComparison.Ordinal));
            Assert.DoesNotContain("Content-Encoding", answer, StringComparison.Ordinal);
        }
        Assert.Empty(Directory.GetFiles(apache.Root + "/sessions", "*.header", SearchOption.AllDirectories));
    }

    [Theory]
    [InlineData("-0")]
    [InlineData("-0", "-H", "Connection: keep-alive")]
    [InlineData("-H", "Range: bytes=0-3")]
    [InlineData("-H", "If-None-Match: \"other\"")]
    [InlineData("-d", "a=b", "-H", "Transfer-Encoding: chunked")]
    [InlineData("-T", "/etc/passwd")]
    [InlineData("-X", "DELETE")]
    [InlineData("-X", "PROPFIND")]
    public void Request_of_any_kind_is_answered_with_a_whole_stream(params string[] request)
    {
        foreach (var stack in Both)
        {
            using var apache = new ApacheServer(stack);
            using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
            string answer = Curl.Run(["-i", "-g", .. request, apache.Url("/front.php?header[]=ETag:+\"mine\"")]);
            Assert.Contains("HTTP/1.1 200 ", answer, StringComparison.Ordinal);
            Expect.WholeStream(answer);
        }
    }

    /// <summary>Without a rule for such applications, frameworks would see no SOCKET_HANDOFF.</summary>
    [Theory, MemberData(nameof(Both))]
    public void Application_that_all_addresses_lead_to_can_hand_over(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: $$"""
            {{Load("rewrite")}}
            <Directory {_root}/www>
                AllowOverride FileInfo
            </Directory>
            <Location /fallback/>
                FallbackResource /front.php
            </Location>
            """);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string directory = Directory.CreateDirectory(apache.Root + "/www/access").FullName;
        File.WriteAllText(directory + "/.htaccess", """
            RewriteEngine On
            RewriteCond %{REQUEST_FILENAME} !-f
            RewriteRule ^ /front.php [L]
            """);
        foreach (string address in new[] { "/fallback/a/b", "/access/a/b?c=d" })
        {
            string answer = Curl.Run("-i", apache.Url(address));
            Expect.WholeStream(answer);
            Assert.Contains($"X-Seen: 1 {address}", answer, StringComparison.Ordinal);
        }
    }

    /// <summary>Not only PHP: whatever makes the response may ask.</summary>
    [Fact]
    public void Application_behind_a_proxy_or_cgi_can_hand_over()
    {
        using var application = new ApacheServer(Stack.PreforkWithModPhp, module: "");
        using var apache = new ApacheServer(Stack.EventWithPhpFpm, extra: $$"""
            {{Load("proxy_http", "cgid")}}
            ScriptSock {_root}/cgid.sock
            ScriptAlias /cgi/ {_root}/sessions/
            ProxyPass /behind/ {{application.Url("/")}}
            """);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string script = apache.Root + "/sessions/ask";
        File.WriteAllText(script, $$"""
            #!/bin/sh
            printf 'X-Socket-Handoff: %s\n' '{{apache.DefaultSocket}}'
            printf 'X-Handoff-Data: {"prompt":"%s"}\nContent-Type: text/plain\n\nbody' "$SOCKET_HANDOFF"
            """);
        File.SetUnixFileMode(script, (UnixFileMode)0b111_101_101);

        Expect.WholeStream(Curl.Run("-i", apache.Url("/cgi/ask")));
        string proxied = Curl.Run("-i", "-g", apache.Url(
            "/behind" + ApacheServer.HandoffPath(apache.DefaultSocket, more: "&header[]=Set-Cookie:+a=1")));
        Expect.WholeStream(proxied);
        Assert.Contains("Set-Cookie: a=1", proxied, StringComparison.Ordinal);
    }

    [Fact]
    public void Client_whose_address_comes_from_a_proxy_is_handed_over()
    {
        int port = ApacheServer.FreePort();
        using var apache = new ApacheServer(Stack.EventWithPhpFpm, extra: $$"""
            {{Load("remoteip")}}
            Listen 127.0.0.1:{{port}}
            <VirtualHost *:{{port}}>
                RemoteIPProxyProtocol On
            </VirtualHost>
            RemoteIPHeader X-Forwarded-For
            RemoteIPInternalProxy 127.0.0.1
            """);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);

        Expect.WholeStream(Curl.Run("-H", "X-Forwarded-For: 192.0.2.1", apache.Url("/front.php")));
        Assert.Contains("[client 192.0.2.1", apache.Log, StringComparison.Ordinal);
        Expect.WholeStream(Curl.Run("--haproxy-protocol", $"http://127.0.0.1:{port}/front.php"));
    }

    /// <summary>Processes that end after each third connection, and a reload in the middle of it.</summary>
    [Theory]
    [InlineData(Stack.PreforkWithModPhp)]
    [InlineData(Stack.EventWithPhpFpm)]
    [InlineData(Stack.WorkerWithPhpFpm)]
    public void Httpd_whose_processes_end_and_whose_log_is_piped_loses_no_stream(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: """
            MaxConnectionsPerChild 3
            CustomLog "|$/bin/cat >> {_root}/sessions/piped.log" "%U %{socket-handoff}n"
            """);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 50);
        string url = apache.Url("/front.php");
        using var before = Curl.Start(url);
        Wait.Until(() => Expect.ContentEvents(before.Output) > 0, () => before.Output);
        apache.Reload();

        var answers = Curl.RunConcurrently(30, apache.Root + "/answers", url);

        Assert.All(answers, answer => Expect.WholeStream(answer));
        before.WaitForExit(Wait.Limit);
        Expect.WholeStream(before.Output);
        Assert.DoesNotContain("exit signal", apache.Log, StringComparison.Ordinal);
        Wait.Until(() => File.ReadAllLines(apache.Root + "/sessions/piped.log").Length >= 31,
            () => File.ReadAllText(apache.Root + "/sessions/piped.log"));
    }

    private static string Load(params string[] modules) => string.Join('\n', modules.Select(Tools.LoadModule));
}
