using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A daemon that is started in an unusual way: with descriptors closed, blocked or passed. Its
/// output is not read unless a test reads it.</summary>
internal sealed class LaunchedDaemon : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();

    private LaunchedDaemon(Func<TempDirectory, ProcessStartInfo> start)
    {
        SocketPath = _directory.File("s");
        Process = Process.Start(start(_directory))!;
    }

    public Process Process { get; }

    public string SocketPath { get; }

    /// <summary>Starts it through a shell with these <paramref name="redirections"/>.</summary>
    public static Task<LaunchedDaemon> StartAsync(string redirections, params string[] arguments) =>
        StartByAsync($"exec \"$@\" {redirections}", arguments);

    /// <summary>Starts it through a shell script that gets the command as its arguments.</summary>
    public static async Task<LaunchedDaemon> StartByAsync(string script, params string[] arguments)
    {
        var daemon = new LaunchedDaemon(directory => DaemonProcess.StartInfo(null, directory.Path,
            ["--socket", directory.File("s"), .. arguments], "sh", "-c", script, "sh"));
        await Eventually.TrueAsync(() => IsListening(daemon.SocketPath) || daemon.Process.HasExited);
        return daemon;
    }

    /// <summary>True once the socket listens (__SO_ACCEPTCON in /proc/net/unix). Its path exists a moment
    /// earlier.</summary>
    private static bool IsListening(string path) => File.ReadLines("/proc/net/unix")
        .Any(l => l.EndsWith(" " + path, StringComparison.Ordinal) && l.Contains(" 00010000 ", StringComparison.Ordinal));

    public void Signal(int number) => Posix.Kill(Process.Id, number);

    public async Task<int> ExitCodeAsync()
    {
        await Process.WaitForExitAsync().WaitAsync(TestClient.Patience);
        return Process.ExitCode;
    }

    public async Task<Answer> AskAsync(string json)
    {
        using var client = TestClient.HandOver(SocketPath, json);
        return Answer.Parse(await TestClient.ReadToEndAsync(client));
    }

    public async ValueTask DisposeAsync()
    {
        if (!Process.HasExited)
            Process.Kill();
        await Process.WaitForExitAsync();
        Process.Dispose();
        _directory.Dispose();
    }
}
