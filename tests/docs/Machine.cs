using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DocsTests;

/// <summary>
/// A machine that runs the pages' commands unchanged, as root, at the root of the repository. It is a
/// throwaway copy of this one (<c>machine.sh</c>), run by systemd, without internet access. One program
/// differs: publishing with Native AOT only puts the published binary in place, because test.sh has already
/// published it with the same words.
/// </summary>
internal sealed partial class Machine : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(5);
    private static int s_count;

    private readonly TempDirectory _bundle = new();
    private readonly string _name = $"docs-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}";
    private readonly Process _process;
    private readonly StringBuilder _output = new();

    private Machine()
    {
        if (!Environment.IsPrivilegedProcess)
            throw new InvalidOperationException("the pages' commands are run in a copy of this machine: needs root");
        Directory.CreateDirectory(_bundle.File("seed"));
        if (NativeAot is { } binary)
        {
            Directory.CreateDirectory(_bundle.File("seed/native"));
            foreach (var file in (string[])["streaming-daemon", "streaming-daemon.cdx.json", "THIRD-PARTY-NOTICES.txt"])
            {
                File.Copy(Path.Combine(Path.GetDirectoryName(binary)!, file),
                    Path.Combine(_bundle.File("seed/native"), file));
            }
        }

        File.WriteAllText(_bundle.File("config.json"), Configuration(_name));
        _process = Start(Require("unshare", "util-linux"),
            ["--mount", Beside("machine.sh"), _bundle.Path, Repository, _name], _output);
    }

    public static string Repository { get; } = DaemonProcess.RepositoryRoot();

    /// <summary>The published binary, if DAEMON_UNDER_TEST names one.</summary>
    public static string? NativeAot { get; } =
        Environment.GetEnvironmentVariable("DAEMON_UNDER_TEST") is { Length: > 0 } binary ? binary : null;

    public static async Task<Machine> StartAsync()
    {
        _ = Require("runc", "runc");
        var machine = new Machine();
        try
        {
            await Eventually.TrueAsync(() => machine.Answers(), s_patience);
            return machine;
        }
        catch
        {
            await machine.DisposeAsync();
            throw new InvalidOperationException($"no copy of this machine: {machine._output}");
        }
    }

    /// <summary>Runs a page's command to its end, at the root of the repository or elsewhere; throws if any
    /// part of it fails.</summary>
    public Task<string> RunAsync(string page, string name, string directory = ".")
    {
        var command = Book.Find(page, name);
        return ShellAsync($"cd {directory}\n{command.Text}", $"{command}");
    }

    /// <summary>Runs a command of the test itself.</summary>
    public async Task<string> ShellAsync(string script, string? what = null)
    {
        var output = new StringBuilder();
        using var shell = Start("runc", Exec(script), output);
        // No terminal: a question would get no answer.
        shell.StandardInput.Close();
        try
        {
            await shell.WaitForExitAsync().WaitAsync(s_patience);
        }
        catch (TimeoutException)
        {
            throw new CommandFailedException($"{what ?? script}\nhas not ended within {s_patience}:\n{Read(output)}");
        }

        return shell.ExitCode == 0 ? Read(output)
            : throw new CommandFailedException($"{what ?? script}\nfailed with {shell.ExitCode}:\n{Read(output)}");
    }

    /// <summary>Waits until a condition holds on the machine.</summary>
    public Task UntilAsync(string condition) =>
        ShellAsync($"for _ in {{1..200}}; do ({condition}) && exit; sleep 0.1; done; exit 1",
            $"never came true: {condition}");

    /// <summary>Runs a page's command that does not end, until it has printed something. Before it, the
    /// variables that the page leaves to its reader are set.</summary>
    public async Task<Foreground> BeginAsync(string page, string name, string until, string before = "")
    {
        var command = Book.Find(page, name);
        var output = new StringBuilder();
        var group = $"/run/foreground-{Interlocked.Increment(ref s_count)}";
        var shell = Start("runc", Exec($"echo $$ >{group}\n{before}\n{command.Text}"), output);
        var begun = new Foreground(this, shell, group, () => Read(output));
        try
        {
            await Eventually.TrueAsync(() => Said() || shell.HasExited, s_patience);
        }
        catch (TimeoutException)
        {
            // Reported below, with what it printed instead.
        }

        return Said() ? begun
            : throw new CommandFailedException($"{command}\nhas not said '{until}':\n{begun.Output}");

        bool Said() => begun.Output.Contains(until, StringComparison.Ordinal);
    }

    /// <summary>A program's path on this machine.</summary>
    public static string? FindProgram(string name) =>
        (Environment.GetEnvironmentVariable("PATH") + ":/usr/sbin:/usr/bin:/sbin:/bin").Split(':')
            .Select(directory => Path.Combine(directory, name)).FirstOrDefault(File.Exists);

    public async ValueTask DisposeAsync()
    {
        // Its first process ends with its input, and all others with that process.
        _process.StandardInput.Close();
        await _process.WaitForExitAsync().WaitAsync(s_patience);
        _process.Dispose();
        _bundle.Dispose();
    }

    private bool Answers()
    {
        if (_process.HasExited)
            throw new InvalidOperationException("the copy ended");
        using var probe = Start(
            "runc", ["--root", _bundle.File("state"), "exec", _name, "systemctl", "is-active", "basic.target"],
            new StringBuilder());
        probe.WaitForExit();
        return probe.ExitCode == 0;
    }

    private string[] Exec(string script) =>
    [
        "--root", _bundle.File("state"), "exec", _name,
        "setsid", "--wait", "bash", "-euo", "pipefail", "-c", Preamble + script,
    ];

    /// <summary>The one command whose work is not repeated: it must have test.sh's words.</summary>
    private static string Preamble { get; } = $$"""
        dotnet() {
          if [ "$1" != publish ]; then command dotnet "$@"; return; fi
          [ "$*" = "publish {{PublishedBy("test.sh")}} -o ${!#}" ] ||
            { echo "test.sh publishes otherwise: $*"; return 1; }
          mkdir -p "${!#}" && cp /native/* "${!#}/"
        }

        """;

    private static string PublishedBy(string script) =>
        Publish().Match(File.ReadAllText(Path.Combine(Repository, script))).Groups[1].Value;

    private static string Configuration(string name)
    {
        string[] all = [.. Capabilities()];
        var dotnet = Path.GetDirectoryName(FindProgram("dotnet"))!;
        object Mount(string destination, string type, params string[] options) =>
            new { destination, type, source = type, options };
        return JsonSerializer.Serialize(new
        {
            ociVersion = "1.0.2",
            process = new
            {
                user = new { uid = 0, gid = 0 },
                cwd = Repository,
                // systemd hands a unit its credentials as a mount, which it makes in a namespace of its own. What is
                // to be started, the pages say.
                args = (string[])
                [
                    "sh", "-c", "mount --make-rshared / && exec /lib/systemd/systemd --unit=basic.target",
                ],
                env = (string[])
                [
                    $"PATH=/usr/local/sbin:/usr/local/bin:{dotnet}:/usr/sbin:/usr/bin:/sbin:/bin",
                    $"HOME={Environment.GetFolderPath(Environment.SpecialFolder.UserProfile)}", "LC_ALL=C.UTF-8",
                    "DOTNET_CLI_TELEMETRY_OPTOUT=1", "DOTNET_NOLOGO=1", "MSBUILDDISABLENODEREUSE=1", "NO_COLOR=1",
                    "DEBIAN_FRONTEND=noninteractive", "OPENAI_API_KEY=sk-of-the-test", "container=runc",
                    // tests/deploy checks the package as it is published. Here it is only installed, and xz takes long.
                    "DPKG_DEB_COMPRESSOR_TYPE=gzip", "DPKG_DEB_COMPRESSOR_LEVEL=1",
                ],
                capabilities = new { bounding = all, effective = all, permitted = all },
                rlimits = (object[])[new { type = "RLIMIT_NOFILE", soft = 20000, hard = 20000 }],
            },
            root = new { path = "root", @readonly = false },
            mounts = (object[])
            [
                Mount("/proc", "proc"), Mount("/dev", "tmpfs", "nosuid", "mode=755"),
                Mount("/dev/shm", "tmpfs", "nosuid"),
                Mount("/dev/pts", "devpts", "nosuid", "newinstance", "ptmxmode=0666"),
                Mount("/run", "tmpfs", "nosuid", "mode=755"), Mount("/run/lock", "tmpfs", "nosuid", "mode=1777"),
                Mount("/sys", "sysfs", "nosuid", "ro"), Mount("/sys/fs/cgroup", "cgroup", "rw"),
            ],
            linux = new
            {
                cgroupsPath = $"/streaming-daemon-{name}",
                namespaces = from type in (string[])["pid", "network", "ipc", "mount", "uts", "cgroup"]
                             select new { type },
            },
        });
    }

    /// <summary>All that this process may have: systemd wants most of them.</summary>
    private static IEnumerable<string> Capabilities()
    {
        var line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("CapBnd:", StringComparison.Ordinal));
        var bits = Convert.ToUInt64(line.Split('\t')[1], 16);
        return Capability().Matches(File.ReadAllText("/usr/include/linux/capability.h"))
            .Where(m => (bits >> int.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture) & 1) == 1)
            .Select(m => m.Groups[1].Value);
    }

    private static Process Start(string program, IEnumerable<string> arguments, StringBuilder output)
    {
        var process = new Process
        {
            StartInfo = new ProcessStartInfo(program, arguments)
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        DataReceivedEventHandler collect = (_, line) =>
        {
            if (line.Data is null)
                return;
            lock (output)
                output.Append(line.Data).Append('\n');
        };
        process.OutputDataReceived += collect;
        process.ErrorDataReceived += collect;
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private static string Read(StringBuilder text)
    {
        lock (text)
            return text.ToString();
    }

    private static string Beside(string file, [CallerFilePath] string here = "") =>
        Path.Combine(Path.GetDirectoryName(here)!, file);

    private static string Require(string program, string package) => FindProgram(program)
        ?? throw new InvalidOperationException($"{program} is missing. These tests need it: apt-get install {package}");

    [GeneratedRegex("^#define (CAP_[A-Z_]+) +([0-9]+)$", RegexOptions.Multiline)]
    private static partial Regex Capability();

    [GeneratedRegex("""sdk publish (.*) -o "\$published" """)]
    private static partial Regex Publish();
}

/// <summary>A command of a page did not do what the page says.</summary>
internal sealed class CommandFailedException(string message) : Exception(message);
