using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

public sealed class StartTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Path_of_a_live_daemon_is_refused_and_left_working()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var (exitCode, _, error) = await DaemonProcess.RunAsync("--socket", daemon.SocketPath);

        Assert.Equal(1, exitCode);
        Assert.Contains("already", error, StringComparison.Ordinal);
        Assert.True((await daemon.AskAsync("{}")).IsDone);
    }

    [Fact]
    public async Task Path_that_is_no_socket_is_refused_and_left_as_it_is()
    {
        var path = _directory.File("file");
        await File.WriteAllTextAsync(path, "mine");

        var (exitCode, _, error) = await DaemonProcess.RunAsync("--socket", path);

        Assert.Equal(1, exitCode);
        Assert.Contains("no socket", error, StringComparison.Ordinal);
        Assert.Equal("mine", await File.ReadAllTextAsync(path));
    }

    [Fact]
    public async Task Stale_socket_of_a_killed_daemon_is_taken_over_and_removed_at_the_end()
    {
        var path = _directory.File("s");
        using (var stale = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            stale.Bind(new UnixDomainSocketEndPoint(path));
            stale.Listen();
            // .NET removes a listener's path when it closes it; a killed process does not.
            File.Move(path, path + ".kept");
        }

        File.Move(path + ".kept", path);

        await using var daemon = await DaemonProcess.StartAsync("--delay", "0", "--socket", path);
        using var client = TestClient.HandOver(path, "{}");
        Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(client)).IsDone);

        daemon.Signal(15);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.False(File.Exists(path));
    }

    [Fact]
    public async Task Socket_of_a_successor_is_not_removed_at_the_end()
    {
        await using var daemon = await DaemonProcess.StartAsync();
        File.Delete(daemon.SocketPath);
        await File.WriteAllTextAsync(daemon.SocketPath, "a successor's");

        daemon.Signal(15);

        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Equal("a successor's", await File.ReadAllTextAsync(daemon.SocketPath));
    }

    [Fact]
    public async Task Limit_of_descriptors_that_is_too_low_is_said_with_its_numbers()
    {
        string[] limit = ["prlimit", "--nofile=2000:2000"];
        await using var few = await DaemonProcess.StartUnderAsync(limit, null, true, "--max-connections", "10");
        await using var many = await DaemonProcess.StartUnderAsync(limit, null, true, "--max-connections", "5000");

        Assert.Empty(few.LogLines("nofile"));
        Assert.Equal(10, await MaxConnectionsAsync(few));
        var fitting = await MaxConnectionsAsync(many);
        Assert.InRange(fitting, 500, 1900);
        var warning = Assert.Single(many.LogLines("nofile"));
        Assert.Contains($"2000 descriptors hold {fitting} connections", warning, StringComparison.Ordinal);
        Assert.Contains("5000 were asked for", warning, StringComparison.Ordinal);
        Assert.Matches("ulimit -n [89][0-9]{3};", warning);
        Assert.Contains($"\nstreaming_daemon_connections_max {fitting}\n", await many.MetricsAsync(),
            StringComparison.Ordinal);

        var (_, check, _) = await DaemonProcess.RunUnderAsync(limit, "check", "--max-connections", "5000");
        Assert.Matches("warning +nofile +2000 descriptors hold [0-9]+ connections", check);
    }

    [Fact]
    public async Task Limit_of_descriptors_that_holds_no_client_ends_the_start_with_what_would()
    {
        // Just enough to start: a runtime with a JIT has more files open.
        var limit = string.IsNullOrEmpty(Environment.GetEnvironmentVariable("DAEMON_UNDER_TEST")) ? 200 : 150;
        var (exitCode, _, error) = await DaemonProcess.RunUnderAsync(
            ["prlimit", $"--nofile={limit}:{limit}"], "--socket", _directory.File("s"));

        Assert.Equal(1, exitCode);
        Assert.Contains($"nofile: {limit} descriptors hold no connection", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
        Assert.False(File.Exists(_directory.File("s")));
    }

    private static async Task<int> MaxConnectionsAsync(DaemonProcess daemon) =>
        (await daemon.HealthAsync()).Body.GetProperty("connections").GetProperty("max").GetInt32();

    [Theory]
    [InlineData("0600")]
    [InlineData("0666")]
    public async Task Socket_mode_is_as_configured(string mode)
    {
        await using var daemon = await DaemonProcess.StartAsync("--socket-mode", mode);

        Assert.Equal((UnixFileMode)Convert.ToInt32(mode, 8), File.GetUnixFileMode(daemon.SocketPath));
    }

    [Theory]
    [Trait("Needs", "Tools")]
    [InlineData(1, "seccomp")]
    [InlineData(38, "seccomp")]
    [InlineData(12, "memlock")]
    [InlineData(22, "6.1 or newer")]
    public async Task Refused_io_uring_ends_the_start_with_its_cause_and_fix(int errno, string cause)
    {
        var wrapper = CTool.Compile(_directory, "seccomp-exec");
        var start = new ProcessStartInfo(wrapper) { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (var argument in (string[])[$"{errno}", .. DaemonProcess.Command(), "--socket", _directory.File("s")])
            start.ArgumentList.Add(argument);

        using var process = Process.Start(start)!;
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(20));

        Assert.Equal(1, process.ExitCode);
        Assert.Contains("io_uring_setup", error, StringComparison.Ordinal);
        Assert.Contains(cause, error, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
        Assert.False(File.Exists(_directory.File("s")));
    }

    [Fact]
    public async Task Soft_limit_of_descriptors_is_raised_to_the_hard_one()
    {
        await using var daemon = await DaemonProcess.StartUnderAsync(["prlimit", "--nofile=200:4096"], null, true,
            "-c", "1000");

        Assert.Contains("streaming_daemon_connections_max 1000\n", await daemon.MetricsAsync(),
            StringComparison.Ordinal);
        Assert.Matches(@"Max open files\s+4096\s+4096", await File.ReadAllTextAsync($"/proc/{daemon.Pid}/limits"));
    }

    [Fact]
    [Trait("Seccomp", "No")]
    public async Task Check_says_that_a_group_may_not_be_given_the_socket()
    {
        var (exitCode, table, _) = await DaemonProcess.RunUnderAsync(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"],
            "check", "--socket", "/tmp/sd-check-group", "--socket-group", "root");

        Assert.Equal(1, exitCode);
        Assert.Contains("server.socket_group 'root': only root, or a member of the group", table,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Metrics_port_that_is_taken_ends_the_start_and_leaves_no_socket()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0));
        taken.Listen();
        var port = ((System.Net.IPEndPoint)taken.LocalEndPoint!).Port;
        var path = _directory.File("s");

        var (exitCode, _, error) = await DaemonProcess.RunAsync("--socket", path, "--metrics", $"{port}");

        Assert.Equal(1, exitCode);
        Assert.Contains($"127.0.0.1:{port}", error, StringComparison.Ordinal);
        Assert.Contains("--metrics", error, StringComparison.Ordinal);
        Assert.False(File.Exists(path));
        var (_, table, _) = await DaemonProcess.RunAsync("check", "--socket", path, "--metrics", $"{port}");
        Assert.Matches($"failed +metrics +metrics on 127.0.0.1:{port}", table);
    }

    [Fact]
    public async Task Metrics_address_that_is_not_of_this_machine_ends_the_start_with_its_name()
    {
        // TEST-NET-1 (RFC 5737): no machine has this address.
        var environment = new Dictionary<string, string>
        { ["STREAMING_DAEMON_MONITORING__METRICS_ADDRESS"] = "192.0.2.1" };

        var (exitCode, _, error) = await DaemonProcess.RunAsync(environment,
            "--socket", _directory.File("s"), "--metrics", "9090");

        Assert.Equal(1, exitCode);
        Assert.Contains("192.0.2.1:9090", error, StringComparison.Ordinal);
        Assert.Contains("metrics_address", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Openai_without_a_key_does_not_start_and_says_so()
    {
        var (exitCode, _, error) = await DaemonProcess.RunAsync(
            "--socket", _directory.File("s"), "--backend", "openai");

        Assert.Equal(2, exitCode);
        Assert.Contains("OPENAI_API_KEY", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unquoted_octal_mode_in_the_file_is_refused_with_what_would_be_right()
    {
        var file = _directory.File("c.toml");
        await File.WriteAllTextAsync(file, "# comment\n[server]\nsocket_mode = 0660\n");

        var (exitCode, _, error) = await DaemonProcess.RunAsync("--config", file);

        Assert.Equal(2, exitCode);
        Assert.Contains($"{file}:3", error, StringComparison.Ordinal);
        Assert.Contains("\"0660\"", error, StringComparison.Ordinal);
        Assert.Contains("0o660", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Check_prints_what_a_start_would_meet_and_changes_nothing()
    {
        var path = _directory.File("s");

        var (exitCode, table, _) = await DaemonProcess.RunAsync("check", "--socket", path);
        var (_, json, _) = await DaemonProcess.RunAsync("check", "--json", "--socket", path);

        Assert.Equal(0, exitCode);
        using var document = JsonDocument.Parse(json);
        Assert.True(document.RootElement.GetProperty("ok").GetBoolean());
        var names = document.RootElement.GetProperty("checks").EnumerateArray()
            .Select(c => c.GetProperty("name").GetString()!).ToList();
        Assert.Equal(
            ["kernel", "io_uring_disabled", "seccomp", "io_uring", "memlock", "nofile", "socket", "metrics",
                "configuration"],
            names);
        Assert.All(names, name => Assert.Contains(name, table, StringComparison.Ordinal));
        Assert.False(File.Exists(path));
    }

    [Fact]
    public async Task Check_fails_if_a_start_would()
    {
        await File.WriteAllTextAsync(_directory.File("file"), "mine");

        var (exitCode, table, _) = await DaemonProcess.RunAsync("check", "--socket", _directory.File("file"));

        Assert.Equal(1, exitCode);
        Assert.Matches("failed +socket", table);
    }

    [Fact]
    public async Task Table_of_descriptors_is_large_enough_before_the_first_client_needs_it()
    {
        await using var daemon = await DaemonProcess.StartAsync("--max-connections", "3000");

        // The size of the kernel's table (proc_pid_status(5)): 64 or 256 if nothing made it larger.
        var line = (await File.ReadAllLinesAsync($"/proc/{daemon.Pid}/status"))
            .Single(l => l.StartsWith("FDSize:", StringComparison.Ordinal));

        Assert.InRange(int.Parse(line.Split('\t')[1], CultureInfo.InvariantCulture), 3_000, int.MaxValue);
    }
}
