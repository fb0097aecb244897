using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>One io_uring_enter(2) of a daemon's loop that answers EINVAL, which none does.</summary>
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
