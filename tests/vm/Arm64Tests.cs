using System.Runtime.InteropServices;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.VmTests;

/// <summary>The daemon as a binary of arm64, under the seccomp profile, on Debian's kernel of arm64: the claims of
/// arm64/init.</summary>
[Collection(TlsTests.OneAtATime)]
public sealed class Arm64Tests
{
    /// <summary>The linker and the emulated processor take minutes; a busy machine more.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(15);

    private static readonly Lazy<Task<string[]>> s_lines = new(RunAsync);

    [Fact]
    public async Task Check_finds_nothing_missing_on_arm64()
    {
        Assert.Contains("machine: aarch64", await LinesAsync());
        Assert.Contains("check: The daemon would start.", await LinesAsync());
        Assert.DoesNotContain(await LinesAsync(), line => line.StartsWith("check: failed", StringComparison.Ordinal));
        Assert.Contains(await LinesAsync(), line => line.StartsWith("check: ok       io_uring ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Answer_on_arm64_is_that_of_x86_64_byte_for_byte()
    {
        var answer = string.Concat(await AfterAsync("answer: "));

        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hello"}""");
        var ours = await TestClient.ReadTextAsync(client);
        Assert.Equal(ours[(ours.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..].Replace("\n", "", StringComparison.Ordinal), answer);
    }

    [Fact]
    public async Task Twenty_at_once_on_arm64_get_the_same_answer_and_are_counted()
    {
        Assert.Equal(20, (await AfterAsync("same: ")).Length);
        Assert.EndsWith(" 21", Assert.Single(await AfterAsync("metric: ")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stream_that_runs_at_SIGTERM_on_arm64_ends_whole_and_the_daemon_with_0()
    {
        Assert.Equal("whole", Assert.Single(await AfterAsync("drained: ")));
        Assert.Equal("0", Assert.Single(await AfterAsync("exit: ")));
        Assert.Equal("22", Assert.Single(await AfterAsync("completed: ")));
    }

    [Fact]
    public async Task Seccomp_profile_holds_on_arm64_and_lets_the_daemon_work() =>
        // 2 is SECCOMP_MODE_FILTER (proc_pid_status(5)). The other tests of this class say that it works.
        Assert.Equal("2", Assert.Single(await AfterAsync("Seccomp:")).Trim());

    private static async Task<string[]> AfterAsync(string prefix) =>
        [.. (await LinesAsync()).Where(line => line.StartsWith(prefix, StringComparison.Ordinal))
            .Select(line => line[prefix.Length..])];

    private static async Task<string[]> LinesAsync()
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64)
            Assert.Skip("On arm64, all other tests are these.");
        if (!VirtualMachine.Has("qemu-system-aarch64"))
            Assert.Skip("NOT TESTED: qemu-system-aarch64 is missing (apt-get install qemu-system-arm).");
        return await s_lines.Value;
    }

    private static async Task<string[]> RunAsync()
    {
        var directory = Path.Combine(DaemonProcess.RepositoryRoot(), "artifacts", "vm-arm64");
        var profile = Path.Combine(DaemonProcess.RepositoryRoot(), "deploy", "seccomp", "streaming-daemon.json");
        var rules = Path.Combine(Directory.CreateDirectory(directory).FullName, "rules");
        using var document = JsonDocument.Parse(await File.ReadAllTextAsync(profile));
        await File.WriteAllTextAsync(rules, SeccompRules.Text(document.RootElement));
        return (await VirtualMachine.BashAsync(s_patience, "arm64/run.sh", directory, rules)).Split('\n');
    }
}
