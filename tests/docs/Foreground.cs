using System.Diagnostics;

namespace StreamingDaemon.DocsTests;

/// <summary>A command that runs until Ctrl-C.</summary>
internal sealed class Foreground(Machine machine, Process shell, string groupFile, Func<string> output)
{
    public string Output => output();

    /// <summary>What a terminal does on Ctrl-C: a SIGINT to all of its processes; then its exit
    /// code.</summary>
    public async Task<int> InterruptAsync()
    {
        await machine.ShellAsync($"kill -INT -- -$(cat {groupFile})");
        return await ExitCodeAsync();
    }

    public async Task<int> ExitCodeAsync()
    {
        await shell.WaitForExitAsync().WaitAsync(TimeSpan.FromMinutes(1));
        return shell.ExitCode;
    }
}
