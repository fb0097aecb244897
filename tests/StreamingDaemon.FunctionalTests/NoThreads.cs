using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A daemon to which the system gives no more threads, because TasksMax= or RLIMIT_NPROC is reached.
/// </summary>
internal static class NoThreads
{
    /// <summary>A user id with no other processes. The limit counts all threads of a user, except root's.
    /// </summary>
    private const string Uid = "61234";

    /// <summary>The capability finds the binary if the repository is in a directory of root's alone. The limit
    /// counts all the same.</summary>
    private static string[] AsUser => Posix.EffectiveUid() != 0
        ? [] : ["setpriv", $"--reuid={Uid}", $"--regid={Uid}", "--clear-groups",
            "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"];

    /// <summary>Starts a daemon as a user for which the limit counts.</summary>
    /// <param name="redirections">Redirections of the shell that starts it.</param>
    /// <param name="environment">NAME=value, for the shell.</param>
    /// <param name="arguments">Arguments of the daemon.</param>
    public static Task<LaunchedDaemon> StartAsync(
        string redirections, IEnumerable<string> environment, params string[] arguments)
    {
        var set = string.Concat(environment.Select(variable => $"export {variable}; "));
        return LaunchedDaemon.StartByAsync(
            $"{set}chmod 777 . && exec {string.Join(' ', AsUser)} \"$@\" {redirections}", arguments);
    }

    /// <summary>From now on, clone(2) fails with EAGAIN.</summary>
    public static async Task ExhaustAsync(int pid)
    {
        string[] command = [.. AsUser, "prlimit", "--pid", $"{pid}", "--nproc=1:1"];
        using var tool = Process.Start(command[0], command[1..]);
        await tool.WaitForExitAsync().WaitAsync(TestClient.Patience);
        Assert.Equal(0, tool.ExitCode);
    }
}
