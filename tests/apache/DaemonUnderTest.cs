namespace StreamingDaemon.ApacheTests;

/// <summary>
/// The daemon with its mock backend, on its own socket. DAEMON_UNDER_TEST names another build of it;
/// otherwise it is the one built together with these tests.
/// </summary>
internal sealed class DaemonUnderTest : IDisposable
{
    public const string BinaryVariable = "DAEMON_UNDER_TEST";

#if DEBUG
    private const string Configuration = "Debug";
#else
    private const string Configuration = "Release";
#endif
    private readonly ChildProcess _process;

    public DaemonUnderTest(string socket, int delayMs, bool stream = false, string[]? more = null)
    {
        string[] arguments =
        [
            "--socket", socket, "--socket-mode", "0666", "--delay", $"{delayMs}",
            .. stream ? ["--socket-type", "stream"] : Array.Empty<string>(), .. more ?? [],
        ];
        _process = Environment.GetEnvironmentVariable(BinaryVariable) is { Length: > 0 } binary
            ? new ChildProcess(binary, arguments)
            : new ChildProcess("dotnet", [Assembly(), .. arguments]);
        Wait.Until(() => File.Exists(socket) || _process.HasExited, () => $"No socket.\n{_process.Output}",
            TimeSpan.FromSeconds(10));
        if (_process.HasExited)
            throw new InvalidOperationException($"The daemon ended.\n{_process.Output}");
    }

    /// <summary>As a shell would start it.</summary>
    public static string CommandLine =>
        Environment.GetEnvironmentVariable(BinaryVariable) is { Length: > 0 } binary ? binary : $"dotnet {Assembly()}";

    public string Log => _process.Output;

    public bool HasExited => _process.HasExited;

    public void Signal(int signal) => _process.Signal(signal);

    public void Dispose() => _process.Dispose();

    private static string Assembly()
    {
        string path = Path.Combine(Tools.Repository, "src", "StreamingDaemon.Host", "bin", Configuration,
            "net10.0", "streaming-daemon.dll");
        return File.Exists(path)
            ? path
            : throw new InvalidOperationException(
                $"{path} is missing: build src/StreamingDaemon.Host, or set DAEMON_UNDER_TEST.");
    }
}
