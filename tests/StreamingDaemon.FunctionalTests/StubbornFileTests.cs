using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Files on a file system where a call does not end, even after SIGKILL. A child process of the daemon asks
/// about them, which the seccomp profile does not allow.</summary>
[Trait("Needs", "Tools")]
[Trait("Seccomp", "No")]
public sealed class StubbornFileTests : IDisposable
{
    private const int SigHup = 1;
    private const int SigTerm = 15;

    /// <summary>The time limit of a file, and more for a busy machine.</summary>
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(10);

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("lookup")]
    [InlineData("getattr")]
    [InlineData("open")]
    [InlineData("read")]
    [InlineData("flush")]
    public async Task Start_and_check_disappear_although_a_call_on_their_file_never_ends(string kind)
    {
        using var fuse = await SilentFuse.MountAsync(_directory, "[mock]\ndelay_ms = 0\n", kind);

        foreach (var command in (string[][])[["--config", fuse.Path], ["check", "--config", fuse.Path]])
        {
            var (exitCode, _, error) = await DaemonProcess.RunAsync(command).WaitAsync(s_soon);

            Assert.Equal(2, exitCode);
            Assert.Contains("/file: does not answer; its file system may be gone", error, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("OPENAI_API_KEY_FILE")]
    [InlineData("OPENAI_CA_FILE")]
    [InlineData("STREAMING_DAEMON_DELIVERY__SECRET_FILE")]
    public async Task Check_disappears_although_a_call_on_a_secret_or_certificate_never_ends(string variable)
    {
        using var fuse = await SilentFuse.MountAsync(_directory, "x", "read");
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_BASE"] = "http://127.0.0.1:1/v1",
            ["STREAMING_DAEMON_DELIVERY__URL"] = "http://127.0.0.1:1/",
            [variable] = fuse.Path,
        };

        var (exitCode, _, error) = await DaemonProcess.RunAsync(environment, "check").WaitAsync(s_soon);

        Assert.Equal(2, exitCode);
        Assert.Contains($"{fuse.Path}: does not answer", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Sigterm_ends_a_daemon_although_a_call_of_its_reload_never_ends()
    {
        var link = _directory.File("c.toml");
        await File.WriteAllTextAsync(link, "");
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0", "--config", link);
        using var fuse = await SilentFuse.MountAsync(_directory, "", "read");
        File.Delete(link);
        File.CreateSymbolicLink(link, fuse.Path);
        daemon.Signal(SigHup);
        await fuse.AskedAsync();
        await Eventually.TrueAsync(() => daemon.LogLines("does not answer").Count == 1);

        daemon.Signal(SigTerm);

        Assert.Equal(0, await daemon.ExitCodeAsync().WaitAsync(s_soon));
    }

    [Fact]
    public async Task File_on_FUSE_is_read_and_read_again()
    {
        using var fuse = await SilentFuse.MountAsync(_directory, "[mock]\ndelay_ms = 0\n", "none");
        await using var daemon = await DaemonProcess.StartAsync("--config", fuse.Path);

        daemon.Signal(SigHup);

        await Eventually.TrueAsync(() => daemon.LogLines("\"Changed\":\"nothing\"").Count == 1);
        Assert.True((await daemon.AskAsync("{}")).IsDone);
        Assert.Empty(ChildrenOf(daemon.Pid));
    }

    [Fact]
    public async Task What_is_wrong_with_a_file_on_FUSE_is_said_as_of_any_other()
    {
        using var fuse = await SilentFuse.MountAsync(_directory, "[mock]\ndelay_ms = \"S3CR3T\"\n", "none");

        var (exitCode, _, error) = await DaemonProcess.RunAsync("check", "--config", fuse.Path);

        Assert.Equal(2, exitCode);
        Assert.Contains($"{fuse.Path}:2: mock.delay_ms", error, StringComparison.Ordinal);
    }

    /// <summary>Also children that have ended, if nobody has waited for them.</summary>
    private static string[] ChildrenOf(int pid) => [.. Directory.GetDirectories($"/proc/{pid}/task")
        .SelectMany(task => File.ReadAllText(Path.Combine(task, "children"))
            .Split(' ', StringSplitOptions.RemoveEmptyEntries))];
}
