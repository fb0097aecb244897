using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>A process that this test run started, and ends by its id.</summary>
internal sealed partial class ChildProcess : IDisposable
{
    public const int SigTerm = 15;

    private readonly Process process;
    private readonly StringBuilder output = new();

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
        // Meant for these tests: the daemon refuses variables of its own prefix that it does not know.
        start.Environment.Remove(DaemonUnderTest.BinaryVariable);
        process = new Process { StartInfo = start };
        process.OutputDataReceived += (_, line) => Collect(line.Data);
        process.ErrorDataReceived += (_, line) => Collect(line.Data);
        process.Start();
        process.StandardInput.Close();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public string Output
    {
        get
        {
            lock (output)
                return output.ToString();
        }
    }

    public bool HasExited => process.HasExited;

    public int ExitCode => process.ExitCode;

    /// <summary>Runs to the end; the output is complete then.</summary>
    public static (int ExitCode, string Output) Run(string file, params string[] arguments)
    {
        using var child = new ChildProcess(file, arguments);
        child.WaitForExit(TimeSpan.FromSeconds(60));
        return (child.ExitCode, child.Output);
    }

    public void Signal(int signal) => _ = Kill(process.Id, signal);

    public void WaitForExit(TimeSpan timeout)
    {
        if (!process.WaitForExit(timeout))
            throw new TimeoutException($"{process.StartInfo.FileName} still runs after {timeout}.\n{Output}");
        process.WaitForExit();
    }

    public void Stop(int signal = SigTerm)
    {
        if (process.HasExited)
            return;
        Signal(signal);
        if (!process.WaitForExit(TimeSpan.FromSeconds(15)))
            process.Kill(entireProcessTree: true);
    }

    public void Dispose()
    {
        Stop();
        process.Dispose();
    }

    private void Collect(string? line)
    {
        if (line == null)
            return;
        lock (output)
            output.AppendLine(line);
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
