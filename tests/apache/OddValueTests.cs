namespace StreamingDaemon.ApacheTests;

/// <summary>Values that applications give to the PHP library: refused by name, or served without a loss.</summary>
public sealed class OddValueTests
{
    [Fact]
    public void Library_refuses_by_name_what_the_daemon_would_ignore_and_nothing_else()
    {
        using var apache = new ApacheServer(Stack.PreforkWithModPhp);
        PhpLibraryTests.CopyLibrary(apache);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string[] names = Curl.Run(apache.Url("/odd.php")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(names.Length > 60);

        foreach (string name in names)
        {
            string answer = Curl.Run(apache.Url("/odd.php?case=" + Uri.EscapeDataString(name.Trim())));
            Assert.True(answer.StartsWith("refused: ", StringComparison.Ordinal)
                || Expect.ContentEvents(answer) == Expect.Events, $"{name}: {answer}");
        }

        // The control: the log would have had it.
        const string ignored = "UnusableFields";
        Curl.Run(apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket, """{"prompt":"x","keep":"control"}""")));
        Wait.Until(() => daemon.Log.Contains("\"Fields\":\"keep\"", StringComparison.Ordinal), () => daemon.Log);
        Assert.Equal(1, daemon.Log.Split(ignored).Length - 1);
        Assert.DoesNotContain("ignored unknown", daemon.Log, StringComparison.Ordinal);
    }

    /// <summary>The module forwards nothing that the daemon would take for its own, and drop with a warning.</summary>
    [Theory, MemberData(nameof(SharedServers.Both), MemberType = typeof(SharedServers))]
    public void Headers_of_the_daemon_s_own_are_not_handed_over(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string[] own = ["Content-Encoding: gzip", "Keep-Alive: timeout=5", "Upgrade: h2c", "Trailer: X", "TE: trailers",
            "Proxy-Connection: close", "Retry-After: 1", "X-Answer-Id: mine", "X-Accel-Buffering: yes",
            "Transfer-Encoding: chunked", "Connection: close", "Cache-Control: public"];
        string answer = Curl.Run("-g", "-i", apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket,
            more: string.Concat(own.Select(header => "&header[]=" + Uri.EscapeDataString(header))))));
        Expect.WholeStream(answer);
        foreach (string header in own.Except(["Connection: close"]))
            Assert.DoesNotContain(header, answer, StringComparison.Ordinal);

        Curl.Run(apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket, """{"prompt":"x","keep":"control"}""")));
        Wait.Until(() => daemon.Log.Contains("ignored unusable", StringComparison.Ordinal), () => daemon.Log);
        Assert.DoesNotContain("response_headers", daemon.Log, StringComparison.Ordinal);
    }
}
