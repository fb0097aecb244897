namespace StreamingDaemon.ApacheTests;

/// <summary>Without a handoff, the status says why, and the two headers do not reach the client.</summary>
public sealed class RefusalTests(SharedServers servers)
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Daemon_that_is_down_is_a_503(Stack stack)
    {
        var apache = servers[stack];
        string path = ApacheServer.HandoffPath(apache.SocketDirectory + "/none.sock");
        string answer = Curl.Run("-i", apache.Url(path));

        Assert.StartsWith("HTTP/1.1 503 ", answer, StringComparison.Ordinal);
        Assert.Contains("<h1>Service Unavailable</h1>", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("from the application", answer, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Path_outside_the_prefix_is_a_403(Stack stack)
    {
        var apache = servers[stack];
        string inside = apache.SocketDirectory;
        Directory.CreateSymbolicLink(inside + "/link", "/");
        File.CreateSymbolicLink(inside + "/within.sock", apache.DefaultSocket);
        File.WriteAllText(apache.Root + "/outside.sock", "");
        try
        {
            foreach (string path in new[]
            {
                apache.Root + "/outside.sock", inside + "/../outside.sock", inside + "/./..//outside.sock",
                inside + "-else/daemon.sock", inside, inside + "/", "run/daemon.sock", "/", "",
                $"{inside}/link{apache.Root}/outside.sock",
            })
            {
                string answer = Curl.Run("-i", apache.Url(ApacheServer.HandoffPath(path)));
                Assert.StartsWith("HTTP/1.1 403 ", answer, StringComparison.Ordinal);
                Expect.NoHandoffHeaders(answer);
            }
            // The control: the same detours, ending inside.
            foreach (string path in new[]
            {
                inside + "//./daemon.sock", inside + "/../run/daemon.sock", inside + "/within.sock",
            })
            {
                Expect.WholeStream(Curl.Run(apache.Url(ApacheServer.HandoffPath(path))));
            }
        }
        finally
        {
            File.Delete(inside + "/link");
            File.Delete(inside + "/within.sock");
        }
    }

    [Theory]
    [InlineData("/run/", "/var/run/none.sock", 503)]
    [InlineData("/var/run/", "/run/none.sock", 503)]
    [InlineData("/var/run", "/var/run/none.sock", 503)]
    [InlineData("/var/run/none/", "/run/none/none.sock", 503)]
    [InlineData("/run/", "/var/running/none.sock", 403)]
    [InlineData("/run/none/", "/var/run/none.sock", 403)]
    [InlineData("/run/", "/srv/var/run/none.sock", 403)]
    public void Var_run_and_run_are_one_directory(string prefix, string socket, int status)
    {
        Assert.Equal("/run", new FileInfo("/var/run").ResolveLinkTarget(true)?.FullName);
        using var apache = new ApacheServer(Stack.PreforkWithModPhp,
            extra: "SocketHandoffAllowedPrefix " + prefix);
        Assert.Equal(status, Curl.Status(apache.Url(ApacheServer.HandoffPath(socket))));
    }

    [Theory, MemberData(nameof(Both))]
    public void Virtual_host_inherits_the_prefix_or_has_its_own(Stack stack)
    {
        var apache = servers[stack];
        string url = apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket));

        Expect.WholeStream(Curl.Run("-H", "Host: inherits.test", url));
        Expect.WholeStream(Curl.Run("-H", "Host: anywhere.test", url));
        Assert.Equal(403, Curl.Status("-H", "Host: narrow.test", url));
        // Inherited, and it does not allow every path.
        string outside = apache.Url(ApacheServer.HandoffPath("/tmp/elsewhere.sock"));
        Assert.Equal(403, Curl.Status("-H", "Host: inherits.test", outside));
        Assert.Equal(503, Curl.Status("-H", "Host: anywhere.test", outside));
    }

    [Theory, MemberData(nameof(Both))]
    public void Path_that_no_socket_address_can_hold_is_a_503(Stack stack)
    {
        var apache = servers[stack];
        string path = apache.SocketDirectory + "/" + new string('x', 120);
        Assert.Equal(503, Curl.Status(apache.Url(ApacheServer.HandoffPath(path))));
    }

    [Theory, MemberData(nameof(Both))]
    public void Module_that_is_off_strips_the_headers_and_leaves_the_answer(Stack stack)
    {
        var apache = servers[stack];
        string answer = Curl.Run("-i", "-H", "Host: disabled.test",
            apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket)));

        Assert.StartsWith("HTTP/1.1 200 OK", answer, StringComparison.Ordinal);
        Assert.EndsWith("from the application\n", answer.ReplaceLineEndings("\n"), StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Data_header_alone_is_stripped(Stack stack)
    {
        var apache = servers[stack];
        foreach (string status in new[] { "200", "404", "500" })
        {
            string answer = Curl.Run("-i", apache.Url($"/handoff.php?data=secret&status={status}"));
            Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
            Assert.Contains("from the application", answer, StringComparison.Ordinal);
            Expect.NoHandoffHeaders(answer);
        }
    }

    [Theory, MemberData(nameof(Both))]
    public void Part_of_a_page_does_not_take_the_connection_with_it(Stack stack)
    {
        var apache = servers[stack];
        string script = ApacheServer.HandoffPath(apache.DefaultSocket, data: "x");
        File.WriteAllText(apache.Root + "/www/parts.html", $"""[<!--#include virtual="{script}" -->]""");
        string answer = Curl.Run("-i", "-H", "Host: parts.test", apache.Url("/parts.html"));

        Assert.Contains("[from the application]", answer, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
    }

    [Theory, MemberData(nameof(Both))]
    public void Error_page_carries_no_headers_of_the_application(Stack stack)
    {
        // "always" puts them among the error headers, which remain in httpd's own error pages.
        using var apache = new ApacheServer(stack, extra: """
            <Location /refused>
                Require all denied
            </Location>
            Header always set X-Handoff-Data secret
            ErrorDocument 403 /handoff.php?data=secret
            """);
        string page = Curl.Run("-i", apache.Url("/refused"));
        Assert.StartsWith("HTTP/1.1 403 ", page, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(page);

        string plain = Curl.Run("-i", apache.Url("/missing"));
        Assert.StartsWith("HTTP/1.1 404 ", plain, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(plain);
    }

    [Fact]
    public void Http2_is_a_500_with_a_reason_in_the_log()
    {
        using var apache = new ApacheServer(Stack.EventWithPhpFpm, extra: $"""
            {Tools.LoadModule("http2")}
            Protocols h2c http/1.1
            """);
        string answer = Curl.Run("-i", "--http2-prior-knowledge",
            apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket)));

        Assert.StartsWith("HTTP/2 500", answer, StringComparison.Ordinal);
        Expect.NoHandoffHeaders(answer);
        Assert.Contains("HTTP/2", apache.Log, StringComparison.Ordinal);
    }
}
