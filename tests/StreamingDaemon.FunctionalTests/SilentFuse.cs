using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>
/// A FUSE file system whose server takes one kind of request and never answers it. Not even SIGKILL ends a
/// thread that waits for it.
/// </summary>
internal sealed class SilentFuse : IDisposable
{
    private const int SigCont = 18;
    private const int SigStop = 19;

    private readonly Process _server;

    private SilentFuse(Process server, string path) => (_server, Path) = (server, path);

    /// <summary>Its file.</summary>
    public string Path { get; }

    /// <param name="directory">Holds the mount point.</param>
    /// <param name="content">The file's content.</param>
    /// <param name="kind">The request that gets no answer: lookup, getattr, open, reopen (each open but the first), read,
    /// flush, release or none.</param>
    public static async Task<SilentFuse> MountAsync(TempDirectory directory, string content, string kind)
    {
        var mount = directory.File("mount");
        System.IO.Directory.CreateDirectory(mount);
        await File.WriteAllTextAsync(directory.File("content"), content);
        var server = Process.Start(new ProcessStartInfo(
            CTool.Compile(directory, "silent-fuse"), [mount, directory.File("content"), kind])
        { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        Assert.Equal("mounted", await server.StandardOutput.ReadLineAsync());
        return new SilentFuse(server, System.IO.Path.Combine(mount, "file"));
    }

    /// <summary>Waits until it keeps a request.</summary>
    public async Task AskedAsync() =>
        Assert.Equal("silent", await _server.StandardOutput.ReadLineAsync().WaitAsync(TestClient.Patience));

    /// <summary>Takes no request. A thread that waits for that ends with its process.</summary>
    public void Stop() => Posix.Kill(_server.Id, SigStop);

    public void Continue() => Posix.Kill(_server.Id, SigCont);

    /// <summary>Lets every request fail, and unmounts.</summary>
    public void Dispose()
    {
        Continue();
        _server.StandardInput.Close();
        _server.WaitForExit();
        _server.Dispose();
    }
}
