using System.Text.Json;

namespace StreamingDaemon.ApacheTests;

/// <summary><c>doctor.php</c>, and <c>check --apache</c>: each broken set-up is a line that says what to do.</summary>
public sealed class DoctorTests
{
    private const string Key = "only-for-the-test";

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Site_that_works_is_ok_in_every_line(Stack stack)
    {
        using var apache = Start(stack);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 20);

        var lines = Check(apache.Url("/chat/doctor.php?key=" + Key));

        Assert.All(lines, line => Assert.Equal("ok", line.Value.Status));
        Assert.Equal(["PHP", "buffering", "long data", "module", "socket", "stream"], lines.Keys.Order(StringComparer.Ordinal));
        Assert.StartsWith($"{Expect.Events + 1} events, the first after ", lines["stream"].Detail,
            StringComparison.Ordinal);
        Assert.Equal(stack == Stack.EventWithPhpFpm,
            lines["PHP"].Detail.StartsWith("php-fpm: a header line ends at 8189 bytes", StringComparison.Ordinal));
    }

    [Theory, MemberData(nameof(Both))]
    public void Module_that_is_off_is_named(Stack stack)
    {
        using var apache = Start(stack, "SocketHandoffEnabled Off");
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);

        var lines = Check(apache.Url("/chat/doctor.php?key=" + Key));

        Fails(lines, "module", "SOCKET_HANDOFF is not set: load mod_socket_handoff, set SocketHandoffEnabled On");
        Fails(lines, "stream", "503 handoff_unavailable");
        Assert.Equal("ok", lines["socket"].Status);
    }

    [Theory, MemberData(nameof(Both))]
    public void Prefix_that_does_not_fit_is_named(Stack stack)
    {
        using var apache = Start(stack, "SocketHandoffAllowedPrefix /run/elsewhere");
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);

        Fails(Check(apache.Url("/chat/doctor.php?key=" + Key)), "stream",
            "403 handoff_forbidden: the socket's path is not below SocketHandoffAllowedPrefix");
    }

    [Theory, MemberData(nameof(Both))]
    public void Socket_that_is_not_there_or_not_permitted_is_named(Stack stack)
    {
        using var apache = Start(stack);

        var lines = Check(apache.Url("/chat/doctor.php?key=" + Key));
        Fails(lines, "socket", "does not exist: start the daemon");
        Fails(lines, "stream", "503 daemon_unavailable: httpd's user cannot connect");

        if (!Environment.IsPrivilegedProcess)
            return; // Then httpd's user is ours, and may connect to whatever we make.
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        File.SetUnixFileMode(apache.DefaultSocket, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        lines = Check(apache.Url("/chat/doctor.php?key=" + Key));
        Fails(lines, "socket", "PHP's user may not connect");
        Fails(lines, "stream", "503 daemon_unavailable");
    }

    [Fact]
    public void Directory_for_long_data_that_php_cannot_write_to_is_named()
    {
        using var apache = Start(Stack.PreforkWithModPhp, "SocketHandoffDataPrefix /nonexistent/data");
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);

        Fails(Check(apache.Url("/chat/doctor.php?key=" + Key)), "long data",
            "PHP's user cannot write to /nonexistent/data (SocketHandoffDataPrefix)");
    }

    /// <summary>A proxy that reads the whole answer before it passes any of it on.</summary>
    [Fact]
    public async Task Proxy_that_holds_the_answer_back_is_a_warning()
    {
        using var apache = Start(Stack.PreforkWithModPhp);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 50);
        await using var proxy = await BufferingProxy.StartAsync(apache.Port);

        var lines = Check($"http://127.0.0.1:{proxy.Port}/chat/doctor.php?key={Key}");

        Assert.Equal("warning", lines["buffering"].Status);
        Assert.Contains("events came at once", lines["buffering"].Detail, StringComparison.Ordinal);
        Assert.Equal("ok", lines["stream"].Status);
    }

    [Fact]
    public void Doctor_says_nothing_without_its_key()
    {
        using var apache = Start(Stack.PreforkWithModPhp);
        foreach (string query in new[] { "", "?key=", "?key=wrong", "?key[]=" + Key })
        {
            Assert.Equal(404, Curl.Status("-g", apache.Url("/chat/doctor.php" + query)));
            Assert.Equal(404, Curl.Status("-g", "-d", "", apache.Url("/chat/doctor.php" + query)));
        }

        Fails(Check(apache.Url("/chat/doctor.php")), "address", "Copy doctor.php there, give PHP HANDOFF_DOCTOR_KEY");
        Fails(Check(apache.Url("/plain.txt")), "address", "It must be the address of apache/doctor.php");
        Fails(Check($"http://127.0.0.1:{ApacheServer.FreePort()}/"), "address", "Is httpd running");
        Fails(Check("file:///etc/passwd"), "address", "is no http or https address");
        Assert.Contains("module     mod_socket_handoff is on", Curl.Run(apache.Url("/chat/doctor.php?key=" + Key)),
            StringComparison.Ordinal);
    }

    private static ApacheServer Start(Stack stack, string extra = "") =>
        new(stack, extra: "SetEnv HANDOFF_DOCTOR_KEY " + Key + "\n" + extra);

    private static void Fails(Dictionary<string, (string Status, string Detail)> lines, string name, string detail)
    {
        Assert.True(lines.ContainsKey(name), $"no line {name}: {string.Join(", ", lines)}");
        Assert.Equal("failed", lines[name].Status);
        Assert.Contains(detail, lines[name].Detail, StringComparison.Ordinal);
    }

    /// <summary>The lines that begin with "apache ".</summary>
    private static Dictionary<string, (string Status, string Detail)> Check(string url)
    {
        var (_, output) = ChildProcess.Run("sh", "-c",
            $"exec {DaemonUnderTest.CommandLine} check --json --backend mock --apache \"$1\" 2>/dev/null", "sh", url);
        using var report = JsonDocument.Parse(output);
        const string prefix = "apache ";
        return report.RootElement.GetProperty("checks").EnumerateArray()
            .Where(check => check.GetProperty("name").GetString()!.StartsWith(prefix, StringComparison.Ordinal))
            .ToDictionary(check => check.GetProperty("name").GetString()![prefix.Length..],
                check => (check.GetProperty("status").GetString()!, check.GetProperty("detail").GetString()!));
    }
}
