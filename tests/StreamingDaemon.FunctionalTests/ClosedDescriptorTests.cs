using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Started with standard descriptors closed, as some supervisors and cron jobs do.</summary>
public sealed class ClosedDescriptorTests
{
    private const string All = "<&- >&- 2>&-";

    [Theory]
    [InlineData(0, All, "--help")]
    [InlineData(0, ">&-", "--help")]
    [InlineData(0, "<&- >&-", "--version")]
    [InlineData(1, All, "send", "--socket", "/tmp/no-such-socket", "--prompt", "x")]
    [InlineData(2, "2>&-", "--no-such-option")]
    [InlineData(2, All, "--no-such-option")]
    [InlineData(1, ">/dev/full", "--help")]
    public async Task Command_ends_with_its_exit_code_and_does_not_crash(int exitCode, string redirections,
        params string[] arguments)
    {
        using var directory = new TempDirectory();
        using var process = Process.Start(DaemonProcess.StartInfo(null, directory.Path, arguments,
            "sh", "-c", $"exec \"$@\" {redirections}", "sh"))!;

        await process.WaitForExitAsync().WaitAsync(TestClient.Patience);

        Assert.Equal(exitCode, process.ExitCode);
    }

    [Fact]
    public async Task Daemon_streams_and_no_socket_takes_the_place_of_a_standard_stream()
    {
        await using var daemon = await LaunchedDaemon.StartAsync(All, "--delay", "20000",
            "--metrics", $"{DaemonProcess.FreePort()}");
        var before = StandardStreamsOf(daemon);

        // The runtime may have used one of these numbers before our code ran. Our code uses none.
        Assert.All(before, Assert.NotNull);
        Assert.DoesNotContain(before, target => target!.Contains("io_uring", StringComparison.Ordinal));
        var clients = Enumerable.Range(0, 10).Select(_ => TestClient.HandOver(daemon.SocketPath, "{}")).ToList();
        foreach (var client in clients)
            _ = await TestClient.ReadUntilAsync(client, "\n\n");

        Assert.Equal(before, StandardStreamsOf(daemon));
        clients.ForEach(client => client.Dispose());
        daemon.Signal(15);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    private static List<string?> StandardStreamsOf(LaunchedDaemon daemon) =>
        [.. Enumerable.Range(0, 3).Select(fd => new FileInfo($"/proc/{daemon.Process.Id}/fd/{fd}").LinkTarget)];
}
