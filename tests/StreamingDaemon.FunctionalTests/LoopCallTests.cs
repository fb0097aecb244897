using System.Diagnostics;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>
/// Lists the system calls of the loop's thread with strace(1). If you add one, explain in
/// docs/architecture.md ("What others still hold") why it cannot block because of another process.
/// </summary>
[Trait("Needs", "Tools")]
public sealed partial class LoopCallTests : IDisposable
{
    private const int Sigterm = 15;

    private static readonly string[] s_allowed =
    [
        // On the daemon's objects: ring, wake-ups of other threads, locks, memory, signal mask, thread end.
        "io_uring_enter", "write", "futex", "madvise", "mmap", "munmap", "mprotect", "clock_nanosleep",
        "nanosleep", "sched_yield", "gettid", "getpid", "restart_syscall", "rt_sigprocmask", "rt_sigreturn",
        "tgkill", "exit", "membarrier", "brk", "getrandom", "set_robust_list", "sigaltstack", "clock_gettime",
        // On handed-over descriptors: the page has a table of them.
        "getsockopt", "setsockopt", "ioctl", "poll", "sendto", "sendmsg", "shutdown", "recvfrom",
        // At the drain, on the socket's path and its lock; the accept queue is emptied then.
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
            // Not a call: a signal, the end of the thread, or the rest of an interrupted call.
            "" => true,
            // Only the daemon's files: the lock next to the path, the ring, the eventfd, files of /proc.
            "close" => call.Contains(".lock>", StringComparison.Ordinal)
                || call.Contains("[eventfd]", StringComparison.Ordinal)
                || call.Contains("io_uring", StringComparison.Ordinal)
                || call.Contains("</proc/", StringComparison.Ordinal),
            // No recvmsg: it would release the descriptors in the message. Another thread does that.
            "recvfrom" => call.Contains("MSG_DONTWAIT", StringComparison.Ordinal),
            "sendto" or "sendmsg" => call.Contains("MSG_DONTWAIT", StringComparison.Ordinal),
            // On a client's socket, this would wait for the socket's lock. The module's connections have no
            // other user.
            "setsockopt" => call.Contains("<UNIX", StringComparison.Ordinal),
            _ => s_allowed.Contains(name),
        };
    }

    [GeneratedRegex("^[a-z_0-9]+(?=\\()")]
    private static partial Regex Name();
}
