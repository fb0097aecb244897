using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>How often the thread that enforces deadlines wakes.</summary>
public sealed class DeadlinesThreadTests
{
    private const int LookMs = 10;

    [Fact]
    public async Task Streams_that_end_at_once_do_not_each_wake_the_thread_of_the_deadlines()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        Assert.True((await daemon.AskAsync("{}")).IsDone);
        var before = Wakes(daemon);
        var clock = Stopwatch.StartNew();

        for (var i = 0; i < 500; i++)
            Assert.True((await daemon.AskAsync("{}")).IsDone);

        // The thread looks at regular times, however many streams there are; now and then it may sleep and be woken.
        Assert.InRange(Wakes(daemon) - before, 0, clock.ElapsedMilliseconds / LookMs + 50);
    }

    [Fact]
    public async Task Thread_of_the_deadlines_sleeps_when_the_streams_have_ended()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        Assert.True((await daemon.AskAsync("{}")).IsDone);

        // It sleeps for the time of a hundred looks.
        await Eventually.TrueAsync(async () =>
        {
            var before = Wakes(daemon);
            await Task.Delay(100 * LookMs);
            return Wakes(daemon) == before;
        });
    }

    [Fact]
    public async Task First_stream_after_the_start_has_no_more_time_than_the_next()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string>
            {
                ["STREAMING_DAEMON_MOCK__LATENCY_MS"] = "60000",
                ["STREAMING_DAEMON_TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS"] = "200",
                ["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "800",
            }, false);

        // With more time, its head would have left before it timed out.
        Assert.StartsWith("HTTP/1.1 504 ", (await daemon.AskAsync("{}")).StatusLine, StringComparison.Ordinal);
    }

    /// <summary>How often the thread has given up its core to wait (proc_pid_status(5)).</summary>
    private static long Wakes(DaemonProcess daemon)
    {
        const string field = "voluntary_ctxt_switches:";
        var thread = Directory.GetDirectories($"/proc/{daemon.Pid}/task")
            .Single(task => File.ReadAllText($"{task}/comm") == "deadlines\n");
        var line = File.ReadLines($"{thread}/status").Single(line => line.StartsWith(field, StringComparison.Ordinal));
        return long.Parse(line.AsSpan(field.Length));
    }
}
