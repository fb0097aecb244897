using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>A process that this test run started and ends by its pid.</summary>
internal sealed partial class ChildProcess : IDisposable
{
    public const int SigTerm = 15;

    private readonly Process _process;
    private readonly StringBuilder _output = new();

    public ChildProcess(string file, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(file)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        // Meant for these tests only: the daemon refuses unknown variables with its own prefix.
        start.Environment.Remove(DaemonUnderTest.BinaryVariable);
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Collect(line.Data);
        _process.ErrorDataReceived += (_, line) => Collect(line.Data);
        _process.Start();
        _process.StandardInput.Close();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public string Output
    {
        get
        {
            lock (_output)
                return _output.ToString();
        }
    }

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    /// <summary>Runs to the end; by then the output is complete.</summary>
    public static (int ExitCode, string Output) Run(string file, params string[] arguments)
    {
        using var child = new ChildProcess(file, arguments);
        child.WaitForExit(TimeSpan.FromMinutes(5));
        return (child.ExitCode, child.Output);
    }

    public void Signal(int signal) => _ = Kill(_process.Id, signal);

    public void WaitForExit(TimeSpan timeout)
    {
        if (!_process.WaitForExit(timeout))
            throw new TimeoutException($"{_process.StartInfo.FileName} still runs after {timeout}.\n{Output}");
        _process.WaitForExit();
    }

    public void Stop(int signal = SigTerm)
    {
        if (_process.HasExited)
            return;
        Signal(signal);
        if (!_process.WaitForExit(TimeSpan.FromSeconds(15)))
            _process.Kill(entireProcessTree: true);
    }

    public void Dispose()
    {
        Stop();
        _process.Dispose();
    }

    private void Collect(string? line)
    {
        if (line == null)
            return;
        lock (_output)
            _output.AppendLine(line);
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
