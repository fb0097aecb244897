using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>tests/run.sh, with a program that fails as the test says.</summary>
public sealed class TestRunnerTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Test_that_passes_by_itself_has_passed_and_is_named()
    {
        var (exitCode, said) = await RunAsync(First("A.Is_late(x: \"(\")") + Then("Total: 2, Errors: 0, Failed: 0"));

        Assert.Equal(0, exitCode);
        Assert.Contains("\n== once more, by themselves: StreamingDaemon.A.Is_late\n", said, StringComparison.Ordinal);
        Assert.Contains("\nagain: -method StreamingDaemon.A.Is_late -noColor", said, StringComparison.Ordinal);
        Assert.Contains("\n== passed by themselves: StreamingDaemon.A.Is_late\n", said, StringComparison.Ordinal);
        Assert.EndsWith("  Total: 9, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0, Time: 1.5s\n", said,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Test_that_fails_twice_has_failed()
    {
        var (exitCode, said) = await RunAsync(First("A.Is_wrong", "B.Is_late")
            + Then("Total: 2, Errors: 0, Failed: 1"));

        Assert.Equal(1, exitCode);
        Assert.DoesNotContain("passed by themselves", said, StringComparison.Ordinal);
        Assert.EndsWith("  Total: 9, Errors: 0, Failed: 1, Skipped: 0, Not Run: 0, Time: 1.5s\n", said,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Second_run_that_finds_no_test_or_crashes_has_failed()
    {
        foreach (var second in (string[])[Then("Total: 0, Errors: 0, Failed: 0"), "kill -9 $$\n"])
        {
            var (exitCode, said) = await RunAsync(First("A.Is_wrong") + second);

            Assert.Equal(1, exitCode);
            Assert.EndsWith(" Failed: 1, Skipped: 0, Not Run: 0, Time: 1.5s\n", said, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task More_than_three_that_fail_are_not_repeated()
    {
        var (exitCode, said) = await RunAsync(First("A.A", "A.B", "A.C", "A.D") + Then("Total: 4, Errors: 0, Failed: 0"));

        Assert.Equal(1, exitCode);
        Assert.DoesNotContain("once more", said, StringComparison.Ordinal);
        Assert.EndsWith(" Failed: 4, Skipped: 0, Not Run: 0, Time: 1.5s\n", said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("exit 3", 1)]
    [InlineData("echo '   StreamingDaemon.X  Total: 9, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0, Time: 1s'; exit 3", 1)]
    [InlineData("echo '   StreamingDaemon.X  Total: 9, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0, Time: 1s'", 0)]
    public async Task Result_counts_only_with_the_exit_code(string program, int expected)
    {
        var (exitCode, said) = await RunAsync(program);

        Assert.True(expected == exitCode, said);
    }

    [Fact]
    public async Task Parts_that_run_side_by_side_are_summed_and_each_runs_once()
    {
        var (exitCode, said) = await RunAsync(Parts + """
            echo "$*" >> "$0.ran"
            echo '   StreamingDaemon.X  Total: 3, Errors: 0, Failed: 0, Skipped: 1, Not Run: 0, Time: 9s'
            """, "--jobs", "2");

        Assert.Equal(0, exitCode);
        Assert.Matches("  Total: 24, Errors: 0, Failed: 0, Skipped: 8, Not Run: 0, Time: [0-9]+s\n$", said);
        var ran = await File.ReadAllLinesAsync(_directory.File("StreamingDaemon.X.ran"));
        Assert.Equal(
            [
                "all -class StreamingDaemon.A -noColor -noLogo",
                "all -class StreamingDaemon.B -noColor -noLogo",
                "all -class StreamingDaemon.C -noColor -noLogo",
                "all -class StreamingDaemon.D -noColor -noLogo",
                "all -class StreamingDaemon.E -noColor -noLogo",
                "all -class StreamingDaemon.F -noColor -noLogo",
                "all -class StreamingDaemon.G -noColor -noLogo",
                "all -class StreamingDaemon.L -class StreamingDaemon.H -noColor -noLogo",
            ],
            ran.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("kill -9 $$", "ended with status 137 and without a result\n")]
    [InlineData("exit 4", "ended with status 4 and without a result\n")]
    [InlineData("echo '   StreamingDaemon.X  Total: 1, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0, Time: 1s'; "
        + "exit 4", " Failed: 1, Skipped: 7,")]
    public async Task Part_that_crashes_has_failed(string end, string expected)
    {
        var (exitCode, said) = await RunAsync(Parts + $"case \"$*\" in *StreamingDaemon.A*) {end} ;; esac\n"
            + "echo '   StreamingDaemon.X  Total: 3, Errors: 0, Failed: 0, Skipped: 1, Not Run: 0, Time: 9s'\n",
            "--jobs", "2");

        Assert.Equal(1, exitCode);
        Assert.Contains(expected, said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Test_of_a_part_that_fails_runs_once_more()
    {
        var (exitCode, said) = await RunAsync(Parts + """
            case "$*" in
              *StreamingDaemon.A\ *) echo '    StreamingDaemon.A.Is_late [FAIL]'
                echo '   StreamingDaemon.X  Total: 3, Errors: 0, Failed: 1, Skipped: 0, Not Run: 0, Time: 9s'
                exit 1 ;;
            esac
            echo '   StreamingDaemon.X  Total: 3, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0, Time: 9s'
            """, "--jobs", "3");

        Assert.Equal(0, exitCode);
        Assert.Contains("\n== passed by themselves: StreamingDaemon.A.Is_late\n", said, StringComparison.Ordinal);
        Assert.Matches("  Total: 27, Errors: 0, Failed: 0,[^\n]*\n$", said);
    }

    [Fact]
    public async Task Parts_cannot_be_named_by_the_arguments()
    {
        var (exitCode, said) = await RunAsync("exit 0\n", "--jobs", "2", "-class", "X");

        Assert.Equal(2, exitCode);
        Assert.Contains("-class with --jobs", said, StringComparison.Ordinal);
    }

    private static string First(params string[] failed) => "if [ $1 != -method ]; then\n"
        + string.Concat(failed.Select(name => $"printf '%s\\n' '    StreamingDaemon.{name} [FAIL]'\n"))
        + $"echo '   StreamingDaemon.X  Total: 9, Errors: 0, Failed: {failed.Length}, Skipped: 0, Not Run: 0, "
        + "Time: 1.5s'; exit 1\nfi\necho \"again: $*\"\n";

    private static string Then(string result) =>
        $"echo '   StreamingDaemon.X  {result}, Skipped: 0, Not Run: 0, Time: 0.1s'\n";

    /// <summary>A program with nine classes; one has tests that take long.</summary>
    private const string Parts = """
        case "$*" in
          *"-list classes -trait Takes=Long") echo Runner; echo StreamingDaemon.L; exit ;;
          *"-list classes") echo Runner; echo; printf 'StreamingDaemon.%s\n' A B C D E F G H L; exit ;;
        esac

        """;

    /// <summary>Runs the program as tests/run.sh does: with the options before it and the argument "all".
    /// </summary>
    private async Task<(int ExitCode, string Said)> RunAsync(string program, params string[] options)
    {
        var path = _directory.File("StreamingDaemon.X");
        await File.WriteAllTextAsync(path, "#!/bin/sh\n" + program);
        File.SetUnixFileMode(path, (UnixFileMode)0b111_101_101);
        string[] arguments = options is ["--jobs", var jobs, .. var rest]
            ? ["--jobs", jobs, path, "all", .. rest]
            : [path, "all"];
        return await Tool.RunAsync(Tool.InRepository("tests", "run.sh"), arguments);
    }
}
