using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>
/// The daemon as its users run it, in a separate process. To run the tests against another build (Native
/// AOT), set its path in <c>DAEMON_UNDER_TEST</c>.
/// </summary>
public sealed class DaemonProcess : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private readonly TempDirectory _directory;
    private readonly Process _process;
    private readonly StringBuilder _error = new();
    private readonly StringBuilder _output = new();
    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private DaemonProcess(TempDirectory directory, ProcessStartInfo start, string socketPath, int metricsPort)
    {
        _directory = directory;
        SocketPath = socketPath;
        MetricsPort = metricsPort;
        _process = new Process { StartInfo = start, EnableRaisingEvents = true };
        _process.OutputDataReceived += (_, e) => Append(_output, e.Data);
        _process.ErrorDataReceived += (_, e) =>
        {
            Append(_error, e.Data);
            if (e.Data?.Contains("listening on", StringComparison.Ordinal) == true)
                _ready.TrySetResult();
        };
        _process.Exited += (_, _) => _ready.TrySetResult();
        _process.Start();
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
    }

    public string SocketPath { get; }

    public int MetricsPort { get; }

    public Uri MetricsUri => new($"http://127.0.0.1:{MetricsPort}");

    public int Pid => _process.Id;

    public string Directory => _directory.Path;

    public string ErrorText => Read(_error);

    public string OutputText => Read(_output);

    public bool HasExited => _process.HasExited;

    /// <summary>Log lines that contain the text.</summary>
    public IReadOnlyList<string> LogLines(string containing) =>
        [.. ErrorText.Split('\n').Where(l => l.Contains(containing, StringComparison.Ordinal))];

    /// <summary>Its resident memory, KB.</summary>
    public long ResidentKb() => long.Parse(
        File.ReadLines($"/proc/{Pid}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal))
            .Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);

    public int OpenSockets() => OpenDescriptors.SocketsAndRings($"{Pid}");

    /// <summary>Starts a daemon on a new socket and waits until it listens.</summary>
    public static Task<DaemonProcess> StartAsync(params string[] arguments) => StartAsync(null, true, arguments);

    /// <summary>As above, with more environment variables, and with or without a metrics port.</summary>
    public static Task<DaemonProcess> StartAsync(IReadOnlyDictionary<string, string>? environment,
        bool metrics, params string[] arguments) => StartUnderAsync([], environment, metrics, arguments);

    /// <summary>As above, started through another command, for example prlimit.</summary>
    public static async Task<DaemonProcess> StartUnderAsync(IReadOnlyList<string> wrapper,
        IReadOnlyDictionary<string, string>? environment, bool metrics, params string[] arguments)
    {
        var directory = new TempDirectory();
        var socket = directory.File("s");
        var port = metrics ? FreePort() : 0;
        string[] all = ["--socket", socket, .. metrics ? ["--metrics", $"{port}"] : (string[])[], .. arguments];
        var daemon = new DaemonProcess(directory, StartInfo(environment, directory.Path, all, wrapper), socket, port);
        try
        {
            await daemon._ready.Task.WaitAsync(s_patience);
            if (daemon.HasExited)
                throw new InvalidOperationException($"the daemon did not start: {daemon.ErrorText}");
            return daemon;
        }
        catch
        {
            // Neither the process nor its directory is left behind.
            await daemon.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a command of the daemon and waits for its end.</summary>
    public static Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments) =>
        RunAsync(null, arguments);

    public static Task<(int ExitCode, string Output, string Error)> RunAsync(
        IReadOnlyDictionary<string, string>? environment, params string[] arguments) =>
        RunAsync([], environment, arguments);

    public static Task<(int ExitCode, string Output, string Error)> RunUnderAsync(
        IReadOnlyList<string> wrapper, params string[] arguments) => RunAsync(wrapper, null, arguments);

    private static async Task<(int ExitCode, string Output, string Error)> RunAsync(
        IReadOnlyList<string> wrapper, IReadOnlyDictionary<string, string>? environment, string[] arguments)
    {
        using var directory = new TempDirectory();
        using var process = Process.Start(StartInfo(environment, directory.Path, arguments, wrapper))!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        try
        {
            await process.WaitForExitAsync().WaitAsync(s_patience);
        }
        finally
        {
            // It would outlive the test.
            if (!process.HasExited)
                process.Kill();
        }

        return (process.ExitCode, await output, await error);
    }

    public void Signal(int number) => Posix.Kill(Pid, number);

    /// <summary>Waits for the process to end and returns its exit code.</summary>
    public async Task<int> ExitCodeAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(s_patience);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _directory.Dispose();
    }

    /// <summary>A port on which nobody listens. It is below those that the kernel gives to connections
    /// (ip_local_port_range): one of many short ones would take it before the test does.</summary>
    public static int FreePort()
    {
        while (true)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                var port = Random.Shared.Next(10_000, 32_000);
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException)
            {
                // Somebody has it.
            }
        }
    }

    /// <summary>The root of the repository.</summary>
    public static string RepositoryRoot()
    {
        var directory = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(directory, "StreamingDaemon.sln")))
            directory = Path.GetDirectoryName(directory) ?? throw new InvalidOperationException("no solution above");
        return directory;
    }

    /// <summary>The command that runs the daemon: the binary, or <c>dotnet</c> and the assembly.</summary>
    public static IReadOnlyList<string> Command()
    {
        var binary = Environment.GetEnvironmentVariable("DAEMON_UNDER_TEST");
        if (!string.IsNullOrEmpty(binary))
            return [binary];
        return ["dotnet", DevelopmentBuild()];
    }

    /// <summary>The assembly that was built together with the tests, in the same configuration.</summary>
    public static string DevelopmentBuild()
    {
        var configuration = AppContext.BaseDirectory.Contains("/Release/", StringComparison.Ordinal)
            ? "Release" : "Debug";
        return Path.Combine(RepositoryRoot(), "src", "StreamingDaemon.Host", "bin",
            configuration, "net10.0", "streaming-daemon.dll");
    }

    /// <summary>How to start the daemon, or a launcher that gets the daemon's command line.</summary>
    public static ProcessStartInfo StartInfo(IReadOnlyDictionary<string, string>? environment, string directory,
        IEnumerable<string> arguments, params IEnumerable<string> launcher)
    {
        string[] command = [.. launcher, .. Command()];
        var start = new ProcessStartInfo
        {
            FileName = command[0],
            WorkingDirectory = directory,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            RedirectStandardInput = true,
        };
        foreach (var argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        // The environment of the tests must not configure the daemon.
        foreach (var name in start.Environment.Keys.Where(k => k.StartsWith("OPENAI_", StringComparison.Ordinal)
            || k.StartsWith("STREAMING_DAEMON_", StringComparison.Ordinal) || k is "MOCK_LATENCY_MS" or "NOTIFY_SOCKET" or "WATCHDOG_USEC" or "LISTEN_PID").ToList())
        {
            start.Environment.Remove(name);
        }

        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        return start;
    }

    private static void Append(StringBuilder text, string? line)
    {
        if (line is null)
            return;
        lock (text)
            text.Append(line).Append('\n');
    }

    private static string Read(StringBuilder text)
    {
        lock (text)
            return text.ToString();
    }
}
