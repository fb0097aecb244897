using System.Globalization;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The unit files, checked by systemd's own programs and against what the daemon does.</summary>
public sealed partial class SystemdTests(ITestOutputHelper output) : IDisposable
{
    private static readonly string[] s_units =
    [
        "streaming-daemon.service", "streaming-daemon.socket", "streaming-daemon-between.service",
        "streaming-daemon-replace.service",
    ];

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Systemd_takes_the_units_without_a_complaint()
    {
        var (exitCode, said) = await VerifyAsync(text => text);

        Assert.Empty(said);
        Assert.Equal(0, exitCode);
    }

    [Theory]
    [InlineData("WatchdogSec=", "WatchdogSecs=", "WatchdogSecs")]
    [InlineData("ExecStart=/usr/bin/streaming-daemon", "ExecStart=/usr/bin/absent", "absent")]
    [InlineData("io_uring_setup", "io_uring_set_up", "io_uring_set_up")]
    public async Task Mistakes_in_a_unit_would_be_noticed(string right, string wrong, string complaint)
    {
        var (_, said) = await VerifyAsync(text => text.Replace(right, wrong, StringComparison.Ordinal));

        Assert.Contains(complaint, said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Service_is_exposed_to_little()
    {
        var (exitCode, said) = await Tool.RunAsync(Tool.SystemdAnalyze, "security", "--offline=true",
            "--no-pager", "--threshold=20", UnitFile.PathOf(s_units[0]));

        output.WriteLine(said);
        Assert.Equal(0, exitCode);
        var exposure = double.Parse(Exposure().Match(said).Groups[1].Value, CultureInfo.InvariantCulture);
        var promised = double.Parse(Promised().Match(File.ReadAllText(Tool.InRepository("docs", "operations.md")))
            .Groups[1].Value, CultureInfo.InvariantCulture);
        Assert.InRange(exposure, 0.1, promised);
    }

    [Fact]
    public void Service_and_socket_meet_at_one_path_that_apaches_group_may_reach()
    {
        var path = UnitFile.Socket["ListenSequentialPacket"];

        Assert.EndsWith($" --socket {path}", UnitFile.Service["ExecStart"], StringComparison.Ordinal);
        Assert.Equal($"/run/{UnitFile.Service["RuntimeDirectory"]}", Path.GetDirectoryName(path));
        Assert.Equal("handoff", UnitFile.Socket["FileDescriptorName"]);
        Assert.Equal(UnitFile.Service["User"], UnitFile.Socket["SocketUser"]);
        Assert.Equal(UnitFile.Service["Group"], UnitFile.Socket["SocketGroup"]);
        Assert.Equal(Default("socket_mode"), $"\"{UnitFile.Socket["SocketMode"]}\"");
        Assert.Equal(Default("backlog"), UnitFile.Socket["Backlog"]);
        // Made by root for the socket, where nobody's group is Apache's; then the service's own.
        Assert.Equal("0755", UnitFile.Socket["DirectoryMode"]);
        Assert.Equal("0750", UnitFile.Service["RuntimeDirectoryMode"]);
    }

    [Fact]
    public void Answers_that_wait_to_be_delivered_are_where_the_next_start_finds_them_and_nobody_else()
    {
        var reference = File.ReadAllText(Tool.InRepository("streaming-daemon.toml"));
        var spool = Regex.Match(reference, "# spool_dir = \"(.*)\"").Groups[1].Value;

        Assert.Equal(Path.GetDirectoryName(spool), $"/var/lib/{UnitFile.Service["StateDirectory"]}");
        Assert.Equal("0700", UnitFile.Service["StateDirectoryMode"]);
    }

    [Fact]
    public void Key_is_a_credential_and_a_missing_one_keeps_nothing_from_starting()
    {
        var (name, file) = UnitFile.Service["LoadCredential"].Split(':') is [var id, var path] ? (id, path) : ("", "");

        Assert.Equal("/etc/streaming-daemon/openai-api-key", file);
        // systemd.exec(5): with a default, a file that cannot be read is not fatal.
        Assert.Equal($"{name}:\\n", UnitFile.Service["SetCredential"]);
        // Whatever the unit is called: the stand-in has a copy of its own.
        foreach (var page in (string[])[UnitFile.PathOf(s_units[0]), Tool.InRepository("docs", "operations.md")])
        {
            Assert.Contains($"api_key_file = \"$CREDENTIALS_DIRECTORY/{name}\"", File.ReadAllText(page),
                StringComparison.Ordinal);
        }

        var replaces = UnitFile.Of("streaming-daemon-replace.service");
        foreach (var key in (string[])["LoadCredential", "SetCredential", "EnvironmentFile", "User", "Group"])
            Assert.Equal(UnitFile.Service[key], replaces[key]);
    }

    [Fact]
    public void Stand_in_is_the_service_but_for_its_listener_and_its_metrics_port()
    {
        var service = UnitFile.Service.Settings;
        var standIn = UnitFile.Of("streaming-daemon-between.service").Settings;

        Assert.Equal(
            [
                $"Description={UnitFile.Service["Description"]}", $"ExecStart={UnitFile.Service["ExecStart"]}",
                "WantedBy=multi-user.target", "Also=streaming-daemon.socket",
            ],
            service.Except(standIn));
        Assert.Equal(
            [
                "Description=Takes handoffs while the streaming daemon is replaced", "Sockets=streaming-daemon.socket",
                $"ExecStart={UnitFile.Service["ExecStart"]} --metrics 0",
            ],
            standIn.Except(service));
    }

    [Fact]
    public void Service_alone_brings_its_socket_and_comes_after_it()
    {
        Assert.Contains(s_units[1], UnitFile.Service["Wants"].Split(' '));
        Assert.Contains(s_units[1], UnitFile.Service["After"].Split(' '));
    }

    [Fact]
    public async Task Service_waits_for_a_drain_and_has_descriptors_for_every_connection()
    {
        Assert.True(Number(UnitFile.Service["TimeoutStopSec"]) > Number(Default("shutdown_timeout_s")));
        var connections = Number(Default("max_connections"));
        var limit = Number(UnitFile.Service["LimitNOFILE"]);
        Assert.True(limit >= await Descriptors.WantedAsync(connections, http2: false));
        // The number in its comment, with some spare for other open descriptors.
        var said = File.ReadAllText(UnitFile.PathOf(s_units[0]));
        var told = WantedDescriptors().Match(said);
        await Descriptors.AreEnoughAsync(Number(told.Groups[1].Value), connections, http2: true);
        await Descriptors.AreEnoughAsync(Number(told.Groups[2].Value), connections, http2: false);
    }

    /// <summary>Verifies both in their own root, which contains everything they name.</summary>
    private async Task<(int ExitCode, string Said)> VerifyAsync(Func<string, string> change)
    {
        var units = Directory.CreateDirectory(_directory.File("etc/systemd/system")).FullName;
        foreach (var name in s_units)
        {
            await File.WriteAllTextAsync(Path.Combine(units, name),
                change(await File.ReadAllTextAsync(UnitFile.PathOf(name))));
        }

        foreach (var program in (string[])["usr/bin/streaming-daemon", "bin/kill", "bin/systemctl"])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_directory.File(program))!);
            File.Copy("/bin/true", _directory.File(program), overwrite: true);
        }

        // A unit's implicit dependencies: targets, slices, mounts.
        var vendor = Directory.CreateDirectory(_directory.File("usr/lib/systemd/system")).FullName;
        foreach (var file in Directory.EnumerateFiles("/usr/lib/systemd/system"))
            File.Copy(file, Path.Combine(vendor, Path.GetFileName(file)));
        return await Tool.RunAsync(Tool.SystemdAnalyze,
            ["verify", $"--root={_directory.Path}", "--man=no", "--recursive-errors=no", .. s_units]);
    }

    /// <summary>The default of an option, as the reference configuration states it.</summary>
    private static string Default(string option) =>
        File.ReadLines(Tool.InRepository("streaming-daemon.toml"))
            .Single(line => line.StartsWith($"# {option} = ", StringComparison.Ordinal))
            .Split(" = ")[1];

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"wants ([0-9]+), or ([0-9]+) where OPENAI_HTTP2_ENABLED=false")]
    private static partial Regex WantedDescriptors();

    [GeneratedRegex(@"rates its exposure\s+below ([0-9.]+) of 10")]
    private static partial Regex Promised();

    [GeneratedRegex(@"exposure level for streaming-daemon.service: ([0-9.]+)")]
    private static partial Regex Exposure();
}
