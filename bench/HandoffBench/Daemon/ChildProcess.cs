using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using StreamingDaemon.Bench.Interop;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>A daemon or an upstream, started for a run and ended by its pid; its output goes to a
/// file.</summary>
internal sealed class ChildProcess : IDisposable
{
    private const int SigTerm = 15;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(15);
    private static readonly ConcurrentDictionary<int, bool> s_running = new();
    private readonly Process _process;
    private readonly string _logPath;

    private ChildProcess(Process process, string logPath)
    {
        _process = process;
        _logPath = logPath;
        s_running[process.Id] = true;
        Tree = new ProcessTree(process.Id);
    }

    public int Pid => _process.Id;

    public ProcessTree Tree { get; }

    public bool HasExited => _process.HasExited;

    /// <summary>The last lines that it wrote.</summary>
    public string LogTail
    {
        get
        {
            var lines = File.ReadAllLines(_logPath);
            return string.Join('\n', lines[Math.Max(0, lines.Length - 12)..]);
        }
    }

    /// <summary>Lines that it has written so far.</summary>
    public long LogLines => File.ReadLines(_logPath).LongCount();

    /// <exception cref="InvalidOperationException">There is no such program.</exception>
    public static ChildProcess Start(string commandLine, string logPath)
    {
        var command = CommandLineText.Parse(commandLine);
        // The shell only redirects, then becomes the program: no pipe has to be read during the measurement.
        // In its own directory, so that it finds no configuration where we were started.
        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = Path.GetDirectoryName(logPath) };
        var program = command.Program.Contains('/', StringComparison.Ordinal)
            ? Path.GetFullPath(command.Program) : command.Program;
        const string redirected = "log=$1; shift; exec \"$@\" </dev/null >\"$log\" 2>&1";
        foreach (var argument in (string[])["-c", redirected, "sh", logPath, program,
            .. command.Arguments])
        {
            start.ArgumentList.Add(argument);
        }

        foreach (var (name, value) in command.Environment)
            start.Environment[name] = value;
        File.WriteAllText(logPath, "");
        return new ChildProcess(Process.Start(start)!, logPath);
    }

    /// <summary>Ending the generator ends everything it started.</summary>
    public static IDisposable EndAllOnSignal() =>
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            foreach (var pid in s_running.Keys)
                _ = Native.Kill(pid, SigTerm);
        });

    /// <summary>Waits for what it does when it is ready.</summary>
    /// <exception cref="InvalidOperationException">It ended instead; holds its last words.</exception>
    /// <exception cref="TimeoutException">It was not ready within half a minute.</exception>
    public void WaitUntil(Func<bool> isReady, string what)
    {
        var begun = Stopwatch.GetTimestamp();
        while (!isReady())
        {
            if (HasExited)
                throw new InvalidOperationException($"it ended before {what}:\n{LogTail}");
            if (Stopwatch.GetElapsedTime(begun) > 2 * s_patience)
                throw new TimeoutException($"not within {2 * s_patience.TotalSeconds} s: {what}\n{LogTail}");
            Thread.Sleep(10);
        }
    }

    /// <summary>Whether a process listens on a port of this machine.</summary>
    public static bool Listens(int port)
    {
        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Connect(IPAddress.Loopback, port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>A free port. Below those that the kernel gives to connecting sockets: one of them could be
    /// taken again before the daemon binds it.</summary>
    public static int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(10_000, 32_000);
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException taken) when (taken.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // Taken: try another.
            }
        }
    }

    /// <summary>SIGTERM, then SIGKILL for it and its children if that is not enough.</summary>
    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _ = Native.Kill(Pid, SigTerm);
            if (!_process.WaitForExit(s_patience))
                _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        s_running.TryRemove(Pid, out _);
        _process.Dispose();
    }
}
