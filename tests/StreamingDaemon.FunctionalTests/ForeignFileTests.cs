using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Another program's file at the path of the daemon's lock, <c>SOCKET.lock</c>.</summary>
public sealed class ForeignFileTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("")]
    [InlineData("--takeover")]
    public async Task Start_beside_somebodys_lock_file_is_exit_1_and_the_file_stays(string takeover)
    {
        var socket = _directory.File("s");
        await File.WriteAllTextAsync(socket + ".lock", "mine");

        var (exitCode, _, error) = await DaemonProcess.RunAsync(
            ["--socket", socket, .. takeover.Split(' ', StringSplitOptions.RemoveEmptyEntries)]);

        Assert.Equal(1, exitCode);
        Assert.Contains($"{socket}.lock: is a file with content", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
        Assert.Equal("mine", await File.ReadAllTextAsync(socket + ".lock"));
        Assert.False(File.Exists(socket));
    }

    [Fact]
    public async Task Start_beside_a_fifo_at_the_locks_name_does_not_wait_for_its_writer()
    {
        var socket = _directory.File("s");
        Assert.Equal(0, Posix.MakeFifo(socket + ".lock"));

        var (exitCode, _, error) = await DaemonProcess.RunAsync("--socket", socket);

        Assert.Equal(1, exitCode);
        Assert.Contains("is a FIFO", error, StringComparison.Ordinal);
        Assert.True(File.Exists(socket + ".lock"));
    }

    [Fact]
    public async Task Stop_beside_somebodys_lock_file_leaves_both_and_says_so_once()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        await File.WriteAllTextAsync(daemon.SocketPath + ".lock", "mine");

        daemon.Signal(15);

        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Equal("mine", await File.ReadAllTextAsync(daemon.SocketPath + ".lock"));
        Assert.Contains("is a file with content", Assert.Single(daemon.LogLines("was not removed")),
            StringComparison.Ordinal);
        Assert.True(File.Exists(daemon.SocketPath));
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Lock_on_a_file_system_that_does_not_answer_ends_start_and_check_with_a_sentence()
    {
        var socket = _directory.File("s");
        await File.WriteAllTextAsync(socket + ".lock", "");
        using var held = await HeldOpen.OfAsync(_directory, socket + ".lock");

        var start = await DaemonProcess.RunAsync("--socket", socket);
        var check = await DaemonProcess.RunAsync("check", "--socket", socket);

        Assert.Equal((1, 1), (start.ExitCode, check.ExitCode));
        Assert.Contains($"{socket}: its file system did not answer within 1.5 s", start.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", start.Error, StringComparison.Ordinal);
        Assert.Contains("socket", check.Output.Split('\n').Single(line =>
            line.StartsWith("failed", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.False(File.Exists(socket));
    }

    [Fact]
    public async Task Check_names_a_lock_file_with_which_the_start_fails()
    {
        var socket = _directory.File("s");
        await File.WriteAllTextAsync(socket + ".lock", "mine");

        var (exitCode, output, _) = await DaemonProcess.RunAsync("check", "--socket", socket);

        Assert.Equal(1, exitCode);
        Assert.Contains($"{socket}.lock: is a file with content", output, StringComparison.Ordinal);
        Assert.Equal("mine", await File.ReadAllTextAsync(socket + ".lock"));
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Stop_on_a_file_system_that_does_not_answer_lets_streams_end_whole()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "50");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        var answer = await TestClient.ReadUntilAsync(client, "\n\n");
        await File.WriteAllTextAsync(daemon.SocketPath + ".lock", "");
        using var held = await HeldOpen.OfAsync(_directory, daemon.SocketPath + ".lock");

        daemon.Signal(15);

        answer += await TestClient.ReadTextAsync(client);
        Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Contains("its file system did not answer", Assert.Single(daemon.LogLines("was not removed")),
            StringComparison.Ordinal);
    }
}
