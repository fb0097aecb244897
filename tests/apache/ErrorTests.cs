using System.Text.Json;

namespace StreamingDaemon.ApacheTests;

/// <summary>The module's errors are httpd's, and the application's errors are the application's.</summary>
public sealed class ErrorTests(SharedServers servers)
{
    private const string Data = """{"prompt":"hello","request_id":"r-17"}""";

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Status_of_300_or_above_is_the_application_s_answer_and_nobody_asks_the_model(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        foreach (int status in new[] { 300, 302, 400, 401, 403, 404, 409, 422, 500, 503 })
        {
            string answer = Curl.Run("-g", "-i", apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket, Data,
                $"&status={status}&part[1]=x&header[]=X-App:%20yes")));

            Assert.Matches($"^HTTP/1.[01] {status} ", answer);
            Assert.EndsWith("from the application", answer.Trim(), StringComparison.Ordinal);
            Assert.Contains("X-App: yes", answer, StringComparison.Ordinal);
            Expect.NoHandoffHeaders(answer);
            Assert.Contains($"no handoff to {apache.DefaultSocket}, the application's status is {status}",
                apache.Log, StringComparison.Ordinal);
        }
        Assert.False(listener.HasConnection);

        // The control: below 300 it is handed over.
        foreach (int status in new[] { 200, 201, 202, 299 })
        {
            using var curl = Curl.Start(apache.Url(
                ApacheServer.HandoffPath(apache.DefaultSocket, Data, $"&status={status}")));
            Assert.NotEmpty(listener.Serve("served"));
            curl.WaitForExit(Wait.Limit);
        }
    }

    /// <summary>httpd keeps php-fpm's headers for the page in the error's place, which may have a status of its own.
    /// </summary>
    [Fact]
    public void Page_in_an_error_s_place_is_not_handed_over_with_the_headers_of_the_error()
    {
        using var apache = new ApacheServer(Stack.EventWithPhpFpm, extra: """
            ProxyErrorOverride On
            ErrorDocument 404 /page.php
            ErrorDocument 409 /handoff.php?status=202
            """);
        File.WriteAllText(apache.Root + "/www/page.php", "<?php http_response_code(201); echo 'a page';");
        using var listener = new HandoffListener(apache.DefaultSocket);
        foreach (var (status, body) in new[] { (404, "a page"), (409, "from the application") })
        {
            string answer = Curl.Run("-g", "-i", "-m", "5", apache.Url(
                ApacheServer.HandoffPath(apache.DefaultSocket, Data, $"&status={status}&header[]=X-App:%20yes")));
            Assert.EndsWith("\n" + body, answer.Trim(), StringComparison.Ordinal);
            Assert.Contains("X-App: yes", answer, StringComparison.Ordinal);
            Expect.NoHandoffHeaders(answer);
        }
        Assert.False(listener.HasConnection);
    }

    [Theory, MemberData(nameof(Both))]
    public void Errors_are_error_documents_with_the_headers_of_the_site(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: """
            ErrorDocument 503 /error.php
            ErrorDocument 403 /plain.txt
            ErrorDocument 500 "said by the site
            Header always set Access-Control-Allow-Origin https://site.example
            """);
        File.WriteAllText(apache.Root + "/www/error.php", """
            <?php
            header('X-Error-Page: yes');
            echo 'page for ', $_SERVER['REDIRECT_STATUS'], ' of ', $_SERVER['REDIRECT_URL'];
            """);
        foreach (var (socket, more, status, body) in new[]
        {
            (apache.DefaultSocket, "", 503, "page for 503 of /handoff.php"),
            (apache.DefaultSocket, "&flush=1", 503, "page for 503 of /handoff.php"),
            ("/tmp/elsewhere.sock", "", 403, "plain"),
            (apache.DefaultSocket, "&part[2]=x", 500, "said by the site"),
        })
        {
            string path = ApacheServer.HandoffPath(socket, more.Contains("part", StringComparison.Ordinal) ? null : Data,
                "&session=1&header[]=X-App:%20yes&header[]=Content-Language:%20de" + more);
            // Twice: the worker is as good as before.
            foreach (string[] accept in new[] { ["-d", "a=b"], new[] { "-H", "Accept: application/json" } })
            {
                string answer = Curl.Run(["-g", "-i", .. accept, apache.Url(path)]);
                Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
                Assert.EndsWith("\n" + body, answer.Trim(), StringComparison.Ordinal);
                Assert.Equal(status == 503, answer.Contains("X-Error-Page: yes", StringComparison.Ordinal));
                Assert.Equal(status == 503, answer.Contains("Retry-After: 1", StringComparison.Ordinal));
                Assert.Contains("Access-Control-Allow-Origin: https://site.example", answer, StringComparison.Ordinal);
                Assert.Contains("Set-Cookie: PHPSESSID=", answer, StringComparison.Ordinal);
                Assert.Contains("X-App: yes", answer, StringComparison.Ordinal);
                Assert.DoesNotContain("Content-Language", answer, StringComparison.Ordinal);
                Assert.DoesNotContain("from the application", answer, StringComparison.Ordinal);
                Expect.NoHandoffHeaders(answer);
            }
        }
        Expect.NoHandoffHeaders(Curl.Run("-i", apache.Url("/plain.txt")));
        Assert.DoesNotContain("exit signal", apache.Log, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Stack.PreforkWithModPhp, "application/json")]
    [InlineData(Stack.PreforkWithModPhp, "text/event-stream")]
    [InlineData(Stack.EventWithPhpFpm, "text/plain, Application/JSON;q=0.5, */*")]
    [InlineData(Stack.EventWithPhpFpm, "text/event-stream; q=0.1")]
    public void Client_that_takes_json_or_events_gets_the_shape_of_the_daemon_s_errors(Stack stack, string accept)
    {
        using var apache = new ApacheServer(stack, extra: """
            Header always set X-Always yes
            """);
        foreach (var (socket, status, code) in new[]
        {
            (apache.DefaultSocket, 503, "daemon_unavailable"),
            ("/tmp/elsewhere.sock", 403, "handoff_forbidden"),
        })
        {
            string path = ApacheServer.HandoffPath(socket, Data, "&header[]=Access-Control-Allow-Origin:%20*");
            string answer = Curl.Run("-g", "-i", "-H", "Accept: " + accept, apache.Url(path), apache.Url("/plain.txt"));
            answer = answer.ReplaceLineEndings("\n");
            string[] parts = answer.Split("\n\n");

            Assert.StartsWith($"HTTP/1.1 {status} ", parts[0], StringComparison.Ordinal);
            Assert.Contains("Content-Type: application/json", parts[0], StringComparison.Ordinal);
            Assert.Contains("Cache-Control: no-store", parts[0], StringComparison.Ordinal);
            Assert.Contains("X-Always: yes", parts[0], StringComparison.Ordinal);
            Assert.Contains("Access-Control-Allow-Origin: *", parts[0], StringComparison.Ordinal);
            using var body = JsonDocument.Parse(parts[1].Split('\n')[0]);
            var error = body.RootElement.GetProperty("error");
            Assert.Equal(code, error.GetProperty("code").GetString());
            Assert.Equal("r-17", error.GetProperty("request_id").GetString());
            Assert.NotEmpty(error.GetProperty("message").GetString()!);
            Expect.NoHandoffHeaders(answer);
            // What follows on the connection, or on the next, is in step.
            Assert.EndsWith("\n\nplain", answer.TrimEnd(), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("text/html,application/xhtml+xml,*/*;q=0.8")]
    [InlineData("*/*")]
    [InlineData("application/json;q=0, text/event-stream;q=0.0")]
    [InlineData("application/jsonx, text/event")]
    public void Other_clients_get_httpd_s_own_page(string accept)
    {
        var apache = servers[Stack.EventWithPhpFpm];
        string path = ApacheServer.HandoffPath(apache.SocketDirectory + "/none.sock", Data);
        string answer = Curl.Run("-i", "-H", "Accept: " + accept, apache.Url(path));

        Assert.StartsWith("HTTP/1.1 503 ", answer, StringComparison.Ordinal);
        Assert.Contains("Content-Type: text/html", answer, StringComparison.Ordinal);
        Assert.Contains("<title>503 Service Unavailable</title>", answer, StringComparison.Ordinal);
        Assert.Contains("Retry-After: 1", answer, StringComparison.Ordinal);
    }

    /// <summary>An index, and the front controller of most frameworks.</summary>
    [Theory, MemberData(nameof(Both))]
    public void Handoff_from_within_an_internal_redirect_works_and_fails_like_any(Stack stack)
    {
        using var apache = new ApacheServer(stack, extra: $$"""
            DirectoryIndex handoff.php
            {{Tools.LoadModule("rewrite")}}
            <Directory {_root}/www>
                RewriteEngine On
                RewriteRule ^env$ environment.php [L]
                RewriteRule ^ask/me$ handoff.php [QSA,L]
            </Directory>
            ErrorDocument 503 /plain.txt
            """);
        string script = ApacheServer.HandoffPath(apache.DefaultSocket, Data, "&header[]=X-App:%20yes");
        Assert.Equal("server=1 getenv=1", Curl.Run(apache.Url("/env")).Trim());
        foreach (string address in new[] { "/", "/ask/me" })
        {
            string url = apache.Url(script.Replace("/handoff.php", address, StringComparison.Ordinal));
            using (new DaemonUnderTest(apache.DefaultSocket, delayMs: 0))
            {
                string stream = Curl.Run("-g", "-i", url);
                Expect.WholeStream(stream);
                Assert.Contains("X-App: yes", stream, StringComparison.Ordinal);
            }
            string error = Curl.Run("-g", "-i", url);
            Assert.StartsWith("HTTP/1.1 503 ", error, StringComparison.Ordinal);
            Assert.EndsWith("\nplain", error.Trim(), StringComparison.Ordinal);
        }
    }
}
