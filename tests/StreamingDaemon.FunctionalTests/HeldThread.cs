using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Stops the thread of a daemon's loop, while all other threads run.</summary>
internal sealed class HeldThread : IDisposable
{
    private readonly Process _holder;

    private HeldThread(Process holder) => _holder = holder;

    /// <summary>The thread id of a loop. The first is called "io_uring loop"; others have a number added.
    /// </summary>
    public static string LoopOf(int pid, string name) =>
        Path.GetFileName(Directory.GetDirectories($"/proc/{pid}/task")
            .Single(t => File.ReadAllText(Path.Combine(t, "comm")) == $"{name}\n"));

    public static async Task<HeldThread> HoldLoopAsync(TempDirectory directory, int pid, string name = "io_uring loop")
    {
        var holder = Process.Start(new ProcessStartInfo(
            CTool.Compile(directory, "hold-thread"), [LoopOf(pid, name)])
        { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        Assert.Equal("held", await holder.StandardOutput.ReadLineAsync());
        return new HeldThread(holder);
    }

    public async Task ReleaseAsync()
    {
        _holder.StandardInput.Close();
        await _holder.WaitForExitAsync().WaitAsync(TestClient.Patience);
    }

    public void Dispose() => _holder.Dispose();
}
