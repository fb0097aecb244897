using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

[Trait("Seccomp", "No")]
public sealed class DemoInterruptTests : IDisposable
{
    private const int SigInt = 2;
    private readonly TempDirectory _temporary = new();
    private Process? _demo;

    public void Dispose()
    {
        if (_demo is { HasExited: false })
            _demo.Kill();
        _demo?.Dispose();
        _temporary.Dispose();
    }

    [Fact]
    public async Task Ctrl_C_during_the_first_answer_ends_it_without_waiting_for_the_rest()
    {
        var demo = await StartAsync();

        Posix.Kill(demo.Id, SigInt);

        await demo.WaitForExitAsync().WaitAsync(TestClient.Patience);
        // Exit 1: the answer was incomplete. No warning: the shutdown timeout did not pass.
        Assert.Equal(1, demo.ExitCode);
        Assert.Equal("", await demo.StandardError.ReadToEndAsync());
        Assert.Empty(Left());
    }

    [Fact]
    public async Task Second_Ctrl_C_ends_at_once_and_leaves_no_directory()
    {
        var demo = await StartAsync();
        var socket = Path.Combine(Assert.Single(Left()), "handoff.sock");
        using var browser = TestClient.HandOver(socket, "{}");
        _ = await TestClient.ReadUntilAsync(browser, "\n\n");

        Posix.Kill(demo.Id, SigInt);
        await Eventually.TrueAsync(() => !File.Exists(socket));
        await Posix.KillUntilAsync(demo.Id, SigInt, () => demo.HasExited);

        await demo.WaitForExitAsync().WaitAsync(TestClient.Patience);
        Assert.Equal(130, demo.ExitCode);
        Assert.Empty(Left());
    }

    private string[] Left() => Directory.GetDirectories(_temporary.Path, "streaming-daemon-*");

    /// <summary>Starts a demo whose first answer takes minutes, and returns once the answer has begun.
    /// </summary>
    private async Task<Process> StartAsync()
    {
        var start = DaemonProcess.StartInfo(new Dictionary<string, string> { ["TMPDIR"] = _temporary.Path },
            _temporary.Path, ["demo", "--port", "0", "--delay", "20000"]);
        var demo = _demo = Process.Start(start)!;
        // A heading, an empty line, and the first event.
        for (var line = 0; line < 3; line++)
            Assert.NotNull(await demo.StandardOutput.ReadLineAsync().WaitAsync(TestClient.Patience));
        return demo;
    }
}
