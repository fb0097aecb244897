using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Files on a file system where a call does not end, even after SIGKILL. A child process of the daemon asks
/// about them, which the seccomp profile does not allow.</summary>
[Trait("Needs", "Tools")]
[Trait("Seccomp", "No")]
public sealed class StubbornFileTests : IDisposable
{
    private const int SigHup = 1;
    private const int SigKill = 9;
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
    public async Task Sigterm_ends_a_daemon_although_the_child_that_asks_for_it_was_killed()
    {
        var link = _directory.File("c.toml");
        await File.WriteAllTextAsync(link, "");
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0", "--config", link);
        using var fuse = await SilentFuse.MountAsync(_directory, "", "lookup");
        fuse.Stop();
        File.Delete(link);
        File.CreateSymbolicLink(link, fuse.Path);
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() =>
        {
            foreach (var child in ChildrenOf(daemon.Pid))
                _ = Posix.TryKill(int.Parse(child, CultureInfo.InvariantCulture), SigKill);
            return daemon.LogLines("c.toml").Count > 0;
        });
        fuse.Continue();

        daemon.Signal(SigTerm);

        Assert.Equal(0, await daemon.ExitCodeAsync().WaitAsync(s_soon));
        Assert.Contains("c.toml does not exist or cannot be reached", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Answer_of_a_child_counts_although_SIGCHLD_is_ignored()
    {
        using var fuse = await SilentFuse.MountAsync(_directory, "[mock]\ndelay_ms = 0\n", "reopen");

        var (exitCode, _, error) = await DaemonProcess.RunUnderAsync(
            ["env", "--ignore-signal=CHLD"], "check", "--config", fuse.Path).WaitAsync(s_soon);

        Assert.Equal("", error);
        Assert.Equal(0, exitCode);
    }

    [Fact]
    public async Task Standard_input_is_the_daemons_own_although_it_is_on_FUSE()
    {
        using var fuse = await SilentFuse.MountAsync(_directory, "[mock]\ndelay_ms = \"x\"\n", "none");

        var (exitCode, _, error) = await DaemonProcess.RunUnderAsync(
            ["sh", "-c", "exec \"$@\" <\"$0\"", fuse.Path], "check", "--config", "/dev/stdin");

        Assert.Equal(2, exitCode);
        Assert.Contains("/dev/stdin:2: mock.delay_ms", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Build_for_development_is_its_own_child_however_it_is_started(bool byDotnet)
    {
        using var fuse = await SilentFuse.MountAsync(_directory, "[mock]\ndelay_ms = 0\n", "lookup");
        var assembly = DaemonProcess.DevelopmentBuild();
        var start = DaemonProcess.StartInfo(null, _directory.Path, ["check", "--config", fuse.Path]);
        start.FileName = byDotnet ? "dotnet" : Path.ChangeExtension(assembly, null);
        start.Environment["DOTNET_ROOT"] =
            Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));
        if (start.ArgumentList[0] == assembly)
            start.ArgumentList.RemoveAt(0);
        if (byDotnet)
            start.ArgumentList.Insert(0, assembly);
        using var process = Process.Start(start)!;
        process.StandardInput.Close();

        await process.WaitForExitAsync().WaitAsync(s_soon);

        Assert.Contains("/file: does not answer", await process.StandardError.ReadToEndAsync(), StringComparison.Ordinal);
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
        .SelectMany(task => ChildrenIn(Path.Combine(task, "children"))
            .Split(' ', StringSplitOptions.RemoveEmptyEntries))];

    private static string ChildrenIn(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (IOException)
        {
            // The thread has ended; the process's others have its children.
            return "";
        }
    }
}
