using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Makes one io_uring_enter(2) of a daemon's loop fail with EINVAL, which never happens by itself.
/// </summary>
internal static class FailedCall
{
    public static async Task OfLoopAsync(TempDirectory directory, int pid)
    {
        using var tool = Process.Start(
            CTool.Compile(directory, "fail-enter"), [HeldThread.LoopOf(pid, "io_uring loop")]);
        await tool.WaitForExitAsync().WaitAsync(TestClient.Patience);
        Assert.Equal(0, tool.ExitCode);
    }
}
