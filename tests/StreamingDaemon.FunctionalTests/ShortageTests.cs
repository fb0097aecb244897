using System.Diagnostics;
using System.Globalization;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>If the system refuses something at the start, the daemon prints one sentence, ends with exit
/// code 1 and leaves no socket. For the Native AOT binary only: with a JIT, the runtime fails before our code
/// runs. test.sh skips these tests in its run without Native AOT.</summary>
[Trait("Needs", "NativeAot")]
[Trait("Seccomp", "No")]
public sealed class ShortageTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(64)]
    [InlineData(128)]
    public async Task Stack_that_is_too_small_ends_the_start_with_the_least(int kib)
    {
        if (IsBuildOfTests())
            Assert.Skip("a runtime with a JIT needs a larger stack before it runs our code");

        await RefusedAsync($"the stack limit is {kib} KiB, but the daemon needs 256 KiB",
            "prlimit", $"--stack={kib * 1024}");
    }

    [Fact]
    public async Task System_without_proc_ends_the_start_and_says_so()
    {
        if (IsBuildOfTests())
            Assert.Skip("a runtime with a JIT needs /proc to find its files");

        await RefusedAsync("/proc is not mounted",
            "unshare", "-rm", "sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh");
    }

    /// <summary>The limit counts for a user without other processes. It goes from the smallest with which the
    /// runtime starts to one that is large enough.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Start_under_any_limit_of_tasks_is_whole_or_a_sentence_and_exit_1(int metrics)
    {
        if (!Environment.IsPrivilegedProcess || IsBuildOfTests())
            Assert.Skip("needs root, and a binary that any user may run");
        var binary = _directory.File("daemon");
        File.Copy(DaemonProcess.Command()[0], binary);
        File.SetUnixFileMode(_directory.Path, (UnixFileMode)0x1FF);
        var (refused, started, needed) = (0, 0, 0);
        string[] port = metrics == 0 ? [] : ["--metrics", $"{DaemonProcess.FreePort()}"];

        for (var limit = 3; limit <= 40 && started < 2; limit++)
        {
            var start = new ProcessStartInfo("setpriv", ["--reuid", "61743", "--regid", "61743", "--clear-groups",
                "prlimit", $"--nproc={limit}:{limit}", binary, "--socket", _directory.File($"s{limit}"), "--delay", "0",
                .. port])
            { RedirectStandardError = true };
            using var process = Process.Start(start)!;
            var first = await FirstWordAsync(process);
            if (first?.Contains("listening on", StringComparison.Ordinal) == true)
            {
                started++;
                process.Kill();
                await process.WaitForExitAsync();
                continue;
            }

            await process.WaitForExitAsync().WaitAsync(TestClient.Patience);
            Assert.Equal((limit, 1), (limit, process.ExitCode));
            Assert.StartsWith("streaming-daemon: the system ", first, StringComparison.Ordinal);
            Assert.Contains("TasksMax=", first, StringComparison.Ordinal);
            Assert.Equal("", await process.StandardError.ReadToEndAsync());
            Assert.False(File.Exists(_directory.File($"s{limit}")));
            refused++;
            // "… allows 9 more threads, but the daemon needs 24. …"
            if (first!.Split("needs ") is [_, var rest])
            {
                needed = limit - int.Parse(first.Split(' ')[4], CultureInfo.InvariantCulture)
                    + int.Parse(rest.Split('.')[0], CultureInfo.InvariantCulture);
            }
        }

        // What the sentence asks for is enough, and no less would be.
        Assert.Equal(needed, 3 + refused);
        Assert.True(refused > 5 && started == 2, $"{refused} refused, {started} started");
    }

    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(8)]
    [InlineData(9)]
    [InlineData(10)]
    [InlineData(11)]
    [InlineData(12)]
    [InlineData(20)]
    public async Task Hardly_any_descriptors_end_the_start_with_a_sentence(int limit)
    {
        if (IsBuildOfTests())
            Assert.Skip("the runtime that compiles as it goes opens more files before it runs our code");

        await RefusedAsync("ulimit -n", "prlimit", $"--nofile={limit}:{limit}");
    }

    [Theory]
    [InlineData(100)]
    [InlineData(150)]
    [InlineData(500)]
    [InlineData(700)]
    public async Task Start_under_a_limit_of_address_space_is_whole_or_refused(int mib)
    {
        if (IsBuildOfTests())
            Assert.Skip("a runtime with a JIT ends the process itself");
        var start = DaemonProcess.StartInfo(null, _directory.Path, ["--socket", _directory.File("s"), "--delay", "0"],
            "prlimit", $"--as={mib * 1024L * 1024}");
        using var process = Process.Start(start)!;
        var first = await FirstWordAsync(process);
        if (first?.Contains("listening on", StringComparison.Ordinal) == true)
            process.Kill();
        await process.WaitForExitAsync().WaitAsync(TestClient.Patience);

        if (first?.Contains("listening on", StringComparison.Ordinal) == true)
            return;
        // 255 comes from the runtime, before our code runs. It happens by chance: it depends on the addresses
        // that the kernel chose whether one more mapping fits. It was never seen with 500 MiB and more.
        var isRuntimes = process.ExitCode == 255 && mib < 500;
        Assert.True(isRuntimes || process.ExitCode == 1, $"exit code {process.ExitCode}: {first}");
        if (isRuntimes)
            Assert.Null(first);
        else
            Assert.StartsWith("streaming-daemon: ", first, StringComparison.Ordinal);
        Assert.Equal("", await process.StandardError.ReadToEndAsync());
    }

    [Fact]
    public async Task Log_file_at_its_limit_of_size_ends_nothing()
    {
        if (IsBuildOfTests())
            Assert.Skip("a runtime with a JIT writes its code to files");
        await using var daemon = await LaunchedDaemon.StartByAsync(
            $"ulimit -f 0; exec \"$@\" 2>>{_directory.File("log")}", "--delay", "0");

        Assert.True((await daemon.AskAsync("{}")).IsDone);
        daemon.Signal(15);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Fact]
    [Trait("Seccomp", "No")]
    public async Task Demo_without_a_directory_for_temporary_files_names_it()
    {
        var (exitCode, _, error) = await DaemonProcess.RunAsync(
            new Dictionary<string, string> { ["TMPDIR"] = "/no-such-directory" }, "demo", "--once", "--port", "0");

        Assert.Equal(1, exitCode);
        Assert.StartsWith("streaming-daemon: /no-such-directory/: cannot create a directory there", error,
            StringComparison.Ordinal);
        Assert.Contains("TMPDIR", error, StringComparison.Ordinal);
    }

    /// <summary>The error line, or the line that says that it listens. A good start first logs the memory
    /// limit; that line is skipped.</summary>
    private static async Task<string?> FirstWordAsync(Process process)
    {
        var line = await process.StandardError.ReadLineAsync().WaitAsync(TestClient.Patience);
        return line?.Contains("streams may hold", StringComparison.Ordinal) == true
            ? await process.StandardError.ReadLineAsync().WaitAsync(TestClient.Patience)
            : line;
    }

    private async Task RefusedAsync(string said, params string[] wrapper)
    {
        var (exitCode, _, error) = await DaemonProcess.RunUnderAsync(
            wrapper, "--socket", _directory.File("s"), "--delay", "0");

        Assert.Equal(1, exitCode);
        Assert.StartsWith("streaming-daemon: ", error, StringComparison.Ordinal);
        Assert.Contains(said, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd('\n').Split('\n'));
        Assert.False(File.Exists(_directory.File("s")));
    }

    /// <summary>True for the build made together with the tests, false for a published binary.</summary>
    private static bool IsBuildOfTests() => DaemonProcess.Command()[0] == "dotnet";
}
