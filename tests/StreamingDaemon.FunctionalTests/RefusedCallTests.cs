using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The system begins to refuse calls while the daemon runs. The daemon has made what it needs at the start.
/// Native AOT only: a JIT needs memory and files for each method that runs for the first time.</summary>
[Trait("Takes", "Long")]
[Trait("Needs", "NativeAot")]
[Trait("Seccomp", "No")]
public sealed class RefusedCallTests : IDisposable
{
    private const int SigHup = 1;
    private const int SigTerm = 15;
    private const int Eagain = 11;
    private const int Enomem = 12;
    private const int Eacces = 13;
    private const int Einval = 22;
    private const int Enfile = 23;
    private const int Enolck = 37;

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("clone,clone3", Eagain)]
    [InlineData("clone,clone3,mmap,madvise", Enomem)]
    [InlineData("madvise,munmap,membarrier", Einval)]
    [InlineData("openat,statx", Eacces)]
    [InlineData("openat,socket,eventfd2,pipe2,memfd_create", Enfile)]
    [InlineData("flock", Enolck)]
    [InlineData("prlimit64,sysinfo", Eacces)]
    public async Task Calls_refused_from_now_on_cost_no_stream_no_probe_and_no_stop(string calls, int error)
    {
        var trigger = _directory.File("trigger");
        var file = _directory.File("c.toml");
        await File.WriteAllTextAsync(file, "");
        await using var daemon = await DaemonProcess.StartUnderAsync(
            [CTool.Compile(_directory, "refuse-later"), trigger, $"{error}", calls], null, true,
            "--delay", "20", "--config", file);
        await using (var readers = new SteadyReaders(daemon.SocketPath, 200))
        {
            await Eventually.TrueAsync(() => readers.Begun == readers.Readers);

            await File.WriteAllTextAsync(trigger, "");
            daemon.Signal(SigHup);

            await Eventually.TrueAsync(() => daemon.LogLines("eloaded").Count > 0);
            var before = readers.Events;
            await Eventually.TrueAsync(() => readers.Events > before + 5000);
            Assert.Equal(200, (await daemon.HealthAsync("/health/live")).Status);
            Assert.Empty(readers.Complaints);
        }

        using var last = TestClient.HandOver(daemon.SocketPath, "{}");
        var answer = await TestClient.ReadUntilAsync(last, "\n\n");
        daemon.Signal(SigTerm);
        answer += await TestClient.ReadTextAsync(last);

        Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }
}
