using System.Diagnostics;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>
/// The system calls of the loop's thread, by strace(1). Whoever adds one says in docs/architecture.md ("What others still
/// hold") why it cannot wait for somebody else.
/// </summary>
public sealed partial class LoopCallTests : IDisposable
{
    private const int Sigterm = 15;

    private static readonly string[] s_allowed =
    [
        // Its own: the ring, wake-ups of other threads, locks, memory, its signal mask and its end.
        "io_uring_enter", "write", "futex", "madvise", "mmap", "munmap", "mprotect", "clock_nanosleep",
        "nanosleep", "sched_yield", "gettid", "getpid", "restart_syscall", "rt_sigprocmask", "rt_sigreturn",
        "tgkill", "exit", "membarrier", "brk", "getrandom", "set_robust_list", "sigaltstack",
        // On what came from outside: the table of the page.
        "getsockopt", "setsockopt", "ioctl", "sendto", "shutdown", "recvfrom",
        // Of the path and its lock, at the drain; the accept queue is emptied then.
        "openat", "open", "flock", "statx", "fstat", "unlink", "accept4",
    ];

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Loop_makes_no_call_that_could_wait_for_somebody_else()
    {
        await using var daemon = await DaemonProcess.StartAsync();
        var trace = _directory.File("trace");
        using var strace = Process.Start(new ProcessStartInfo("strace",
            ["-y", "-o", trace, "-p", HeldThread.LoopOf(daemon.Pid, "io_uring loop")])
        { RedirectStandardError = true })!;
        // "strace: Process … attached"
        Assert.Contains("attached", await strace.StandardError.ReadLineAsync(), StringComparison.Ordinal);

        using (var peer = new HostilePeer(daemon.SocketPath))
        {
            foreach (var act in HostilePeer.Acts.Where(a => !a.StartsWith("Lock", StringComparison.Ordinal)))
                await peer.CommitAsync(act);
            using var browser = TestClient.HandOverTcp(daemon.SocketPath, """{"prompt":"well"}""");
            Assert.Contains("[DONE]", await TestClient.ReadTextAsync(browser), StringComparison.Ordinal);
        }

        daemon.Signal(Sigterm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        await strace.WaitForExitAsync().WaitAsync(TestClient.Patience);

        var calls = await File.ReadAllLinesAsync(trace);
        Assert.Contains(calls, call => call.StartsWith("sendto(", StringComparison.Ordinal));
        Assert.All(calls, call => Assert.True(IsAllowed(call), call));
    }

    private static bool IsAllowed(string call)
    {
        var name = Name().Match(call).Value;
        return name switch
        {
            // Not a call: a signal, the end of the thread, the rest of an interrupted one.
            "" => true,
            // Its own files: the lock beside the path, the ring, the eventfd, a file of /proc.
            "close" => call.Contains(".lock>", StringComparison.Ordinal)
                || call.Contains("[eventfd]", StringComparison.Ordinal)
                || call.Contains("io_uring", StringComparison.Ordinal)
                || call.Contains("</proc/", StringComparison.Ordinal),
            // Taking a message would release what is in it: it is done elsewhere.
            "recvfrom" => call.Contains("MSG_DONTWAIT", StringComparison.Ordinal),
            "sendto" => call.Contains("MSG_DONTWAIT", StringComparison.Ordinal),
            // Of a client's socket these take the lock; the module's connections are ours alone.
            "setsockopt" => call.Contains("<UNIX", StringComparison.Ordinal),
            _ => s_allowed.Contains(name),
        };
    }

    [GeneratedRegex("^[a-z_0-9]+(?=\\()")]
    private static partial Regex Name();
}
