namespace StreamingDaemon.ApacheTests;

/// <summary>bench/why.sh, whose table is in the README: it runs, and every answer it requests is
/// whole.</summary>
public sealed class WhyScriptTests
{
    private const string Time = @"[\d.]+ m?s \([\d.]+ m?s\)";

    [Fact]
    public void Table_of_what_a_site_gains_has_a_row_for_each_way()
    {
        var (exitCode, output) = Run("--quick");

        Assert.True(exitCode == 0, output);
        Assert.Matches($@"\| 10 \| streams by itself \| {Time} \| {Time} \| \d+ MB \|  \|", output);
        Assert.Matches($@"\| \| hands over \| {Time} \| {Time} \| \d+ MB \| \d+ MB \|", output);
    }

    [Theory]
    [InlineData("--fast")]
    [InlineData("0")]
    [InlineData("1", "2")]
    public void Command_line_that_is_none_measures_nothing(params string[] arguments)
    {
        var (exitCode, output) = Run(arguments);

        Assert.Equal(2, exitCode);
        Assert.StartsWith("usage: ", output, StringComparison.Ordinal);
    }

    private static (int ExitCode, string Output) Run(params string[] arguments) => ChildProcess.Run("env",
        [$"{DaemonUnderTest.BinaryVariable}={DaemonUnderTest.CommandLine}",
            Path.Combine(Tools.Repository, "bench", "why.sh"), .. arguments]);
}
