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

    [Fact]
    public void Data_that_httpd_s_user_cannot_read_is_a_failed_stream_whose_reason_is_logged()
    {
        if (!Environment.IsPrivilegedProcess)
            return; // Only root can start php-fpm as another user.
        using var apache = Start(Stack.EventWithPhpFpm, "SocketHandoffDataPrefix {_root}/data", fpmUser: "nobody");
        string data = Directory.CreateDirectory(apache.Root + "/data").FullName;
        File.SetUnixFileMode(data, (UnixFileMode)0b111_111_111);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);

        var lines = Check(apache.Url("/chat/doctor.php?key=" + Key));
        Assert.Equal("ok", lines["long data"].Status);
        Fails(lines, "stream", "500 handoff_failed: httpd's error log");
        apache.WaitForLog("give its directory httpd's group and mode 2770");

        Assert.Equal(0, ChildProcess.Run("chown", "nobody:www-data", data).ExitCode);
        Assert.Equal(0, ChildProcess.Run("chmod", "2770", data).ExitCode);
        Assert.Equal("ok", Check(apache.Url("/chat/doctor.php?key=" + Key))["stream"].Status);
    }

    [Fact]
    public void Socket_of_php_fpm_itself_is_a_warning_and_a_failed_stream()
    {
        string extra = "SocketHandoffAllowedPrefix {_root}\nProxyFCGISetEnvIf true HANDOFF_SOCKET {_root}/fpm.sock";
        using var apache = Start(Stack.EventWithPhpFpm, extra);

        var lines = Check(apache.Url("/chat/doctor.php?key=" + Key));

        Assert.Equal("warning", lines["socket"].Status);
        Assert.Contains("wrong for any other socket, such as php-fpm's", lines["socket"].Detail, StringComparison.Ordinal);
        Fails(lines, "stream", "500 handoff_failed");
        Assert.Contains("is the socket of PHP itself", apache.Log, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_printed_before_each_script_is_named()
    {
        using var apache = Start(Stack.PreforkWithModPhp, """
            php_admin_value auto_prepend_file {_root}/sessions/first.php
            php_admin_value output_buffering 0
            """);
        File.WriteAllText(apache.Root + "/sessions/first.php", "\n<?php flush();");

        string report = Curl.Run(apache.Url("/chat/doctor.php?key=" + Key));

        Assert.Matches(@"failed +PHP +something is printed before each script \(.*first\.php, line \d+\)", report);
    }

    /// <summary>Else an old PHP would answer with an empty page. No PHP of that age is in Debian 12.</summary>
    [Fact]
    public void Doctor_itself_has_nothing_that_an_old_php_cannot_read()
    {
        string text = File.ReadAllText(Path.Combine(Tools.Repository, "apache", "doctor.php"));

        Assert.DoesNotMatch(@"\bmatch \(|\?->|\bfn ?\(|\bnever\b|\bmixed\b|\breadonly\b|\benum |\bstr_(contains|starts_with|ends_with)\(|\?\?=", text);
        Assert.DoesNotMatch(@"foreach \(.*\[\$", text);
        Assert.DoesNotMatch(@"catch \(\w+\)|[(,] *[a-z]+: |\): \??\w+\|", text);
        string stream = File.ReadAllText(Path.Combine(Tools.Repository, "apache", "stream.php"));
        // The control, and why 8.1 is the oldest.
        Assert.Matches(@"\bnever\b", stream);
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

    private static ApacheServer Start(Stack stack, string extra = "", string? fpmUser = null) =>
        new(stack, extra: "SetEnv HANDOFF_DOCTOR_KEY " + Key + "\n" + extra, fpmUser: fpmUser);

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
