using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A daemon whose loop's thread is stopped, while all others run.</summary>
internal sealed class HeldThread : IDisposable
{
    private readonly Process _holder;

    private HeldThread(Process holder) => _holder = holder;

    /// <summary>The number of a loop's thread: "io_uring loop", and the further ones with their number.</summary>
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
