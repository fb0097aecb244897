using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Report;
using StreamingDaemon.Bench.Streams;
using StreamingDaemon.Bench.Trials;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

public sealed class TrialTests
{
    private const int Streams = 12;

    private static readonly string s_daemon =
        string.Join(' ', DaemonProcess.Command()) + " --socket @SOCK@ --delay 0";

    [Fact]
    public void First_stream_of_a_cold_load_is_the_daemons_first_and_the_load_follows_once_more()
    {
        using var directory = new TempDirectory();
        // A log for each process.
        File.WriteAllText(directory.File("daemon"), $"exec \"$@\" 2>{directory.Path}/$$.log");

        var result = Run($"sh {directory.File("daemon")} {s_daemon}", isCold: true);

        Assert.Equal(Streams, result.Load.Good);
        Assert.Equal(Streams, result.Second!.Load.Good);
        Assert.True(result.IsWhole);
        Assert.True(result.Second.Before.CpuSeconds >= result.After.CpuSeconds);
        Assert.InRange(result.FaultsPerStream, 1, 100_000);
        Assert.NotNull(Figure.All.Single(f => f.Name == "page faults, next as many").Value(result));
        // The measured process had the two loads; the other one showed the answer, twice.
        var ended = Directory.GetFiles(directory.Path, "*.log")
            .Select(log => File.ReadLines(log).Count(line => line.Contains("\"Outcome\":", StringComparison.Ordinal)));
        Assert.Equal([2, 2 * Streams], ended.Order());
    }

    [Theory]
    [InlineData("", 1)]
    [InlineData(" --benchmark", 0)]
    public void Log_lines_say_whether_the_daemon_ran_as_shipped(string option, int linesPerStream)
    {
        var result = Run(s_daemon + option, isCold: false);

        Assert.Equal(Streams, result.Load.Good);
        Assert.Equal(linesPerStream * Streams, result.LogLines);
        Assert.Null(result.Second);
        Assert.Equal(linesPerStream, Figure.All.Single(f => f.Name == "log lines a stream").Value(result));
    }

    private static TrialResult Run(string daemon, bool isCold)
    {
        using var trial = new Trial(new TrialPlan
        {
            Label = "daemon",
            Daemon = daemon,
            Load = new LoadPlan { Streams = Streams, Request = """{"prompt":"x"}"""u8.ToArray() },
            Shape = new AnswerShape(18, IsMock: true),
            Cold = isCold,
        });
        return trial.Run(1);
    }
}
