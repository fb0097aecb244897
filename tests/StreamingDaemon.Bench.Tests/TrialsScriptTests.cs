using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

public sealed partial class TrialsScriptTests
{
    private const string Figure = @"[0-9]+\.[0-9]{2}";

    private static readonly string[] s_bursts =
    [
        "floor.c", "SEND (the floor)", "SEND_ZC", "SEND_ZC, registered buffer", "SEND, registered buffer",
        "WRITE_FIXED", "SEND, registered file", "bundle of 1 event", "bundle of 4 events",
        "SEND of 2 events", "SEND of 4 events", "SEND of 8 events", "SEND, SQPOLL", "send(2)",
    ];

    private static readonly string[] s_trickles =
    [
        "eventfd", "eventfd, sleeps only without sends", "eventfd, waits beyond its sends",
        "eventfd, min-wait 50 us", "eventfd, min-wait 200 us", "eventfd, min-wait 1000 us",
        "eventfd, second enter of 200 us", "MSG_RING", "MSG_RING without a ring", "eventfd, SQPOLL",
        "eventfd, epoll and send(2)",
    ];

    private static readonly string[] s_once =
    [
        "registered file, in and out", "cancel of a watch by fd, all", "cancel of a watch by fd",
        "cancel of a watch by user_data",
    ];

    /// <summary>What every kernel can, so that a figure is due.</summary>
    private static readonly string[] s_everywhere =
        ["floor.c", "SEND (the floor)", "WRITE_FIXED", "SEND of 8 events", "send(2)"];

    [Fact]
    public async Task Every_trial_compiles_runs_and_has_its_row()
    {
        var (exitCode, output, error) = await RunAsync("--quick");

        Assert.True(exitCode == 0, $"{error}\nThe trials need: apt-get install gcc liburing-dev");
        var rows = output.Split('\n').Where(line => line.StartsWith('|')).Skip(2).Select(Cells).ToList();
        Assert.Equal(ExpectedVariants(), rows.Select(cells => cells[0]));
        foreach (var cells in rows)
        {
            // What this kernel does not know has its error instead of a figure.
            if (cells[1] == "–")
                Assert.Matches("^E[A-Z]+: ", cells[3]);
            else
                Assert.Matches($@"^{Figure} {Figure} \({Figure}–{Figure}\)$", $"{cells[1]} {cells[2]}");
        }

        var byVariant = rows.ToDictionary(cells => cells[0]);
        foreach (var transport in (string[])["Unix", "TCP"])
        {
            foreach (var name in s_everywhere)
                Assert.True(Number(byVariant[$"{transport}, burst: {name}"][1]) > 0, $"{transport} {name}");
            Assert.Equal("1.00 (1.00–1.00)", byVariant[$"{transport}, burst: SEND (the floor)"][2]);
        }
    }

    [Theory]
    [InlineData("--fast")]
    [InlineData("--rounds")]
    [InlineData("--rounds", "0")]
    public async Task A_command_line_that_is_none_measures_nothing(params string[] arguments)
    {
        var (exitCode, output, error) = await RunAsync(arguments);

        Assert.Equal(2, exitCode);
        Assert.Empty(output);
        Assert.StartsWith("usage: ", error, StringComparison.Ordinal);
    }

    private static IEnumerable<string> ExpectedVariants()
    {
        foreach (var (transport, rate) in ((string, int)[])[("Unix", 100_000), ("TCP", 25_000)])
        {
            foreach (var name in s_bursts)
                yield return $"{transport}, burst: {name}";
            foreach (var name in s_trickles)
                yield return $"{transport}, {rate} a second: {name}";
        }

        foreach (var size in (int[])[100, 200, 300])
        {
            foreach (var name in s_once)
                yield return $"Unix, once a stream: {name}, of {size}";
        }
    }

    private static string[] Cells(string row) => Column().Split(row.Trim('|', ' '));

    private static double Number(string cell) => double.Parse(cell, CultureInfo.InvariantCulture);

    private static async Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments)
    {
        var script = Path.Combine(DaemonProcess.RepositoryRoot(), "bench", "trials.sh");
        var start = new ProcessStartInfo(script, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        try
        {
            await process.WaitForExitAsync().WaitAsync(TimeSpan.FromMinutes(2));
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }

        return (process.ExitCode, await output, await error);
    }

    [GeneratedRegex(@" \| ?")]
    private static partial Regex Column();
}
