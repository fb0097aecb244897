using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A file like one on a dead NFS or FUSE server: open(2) blocks.</summary>
internal sealed class HeldOpen : IDisposable
{
    private readonly Process _holder;

    private HeldOpen(Process holder) => _holder = holder;

    public static async Task<HeldOpen> OfAsync(TempDirectory directory, string file)
    {
        var holder = Process.Start(new ProcessStartInfo(CTool.Compile(directory, "hold-open"), [file])
        { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        Assert.Equal("held", await holder.StandardOutput.ReadLineAsync());
        return new HeldOpen(holder);
    }

    /// <summary>Waits until somebody opens it.</summary>
    public async Task OpenedAsync() =>
        Assert.Equal("open", await _holder.StandardOutput.ReadLineAsync().WaitAsync(TestClient.Patience));

    /// <summary>Lets all blocked open(2) calls continue.</summary>
    public async Task ReleaseAsync()
    {
        _holder.StandardInput.Close();
        await _holder.WaitForExitAsync().WaitAsync(TestClient.Patience);
    }

    public void Dispose()
    {
        if (!_holder.HasExited)
            _holder.Kill();
        _holder.Dispose();
    }
}
