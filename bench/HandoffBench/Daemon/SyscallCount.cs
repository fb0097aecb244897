using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using StreamingDaemon.Bench.Interop;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>
/// Counts a running daemon's system calls: with perf(1), by the kernel's tracepoints, or with strace(1) if
/// perf is missing or not allowed. strace stops the process at each call. The process then finds fewer things
/// to do together, and makes more calls than it would.
/// </summary>
internal sealed class SyscallCount : IDisposable
{
    private const int SigInt = 2;
    private const string All = "raw_syscalls:sys_enter";
    private const string Prefix = "syscalls:sys_enter_";

    /// <summary>Calls that perf counts by name; the rest are "others". All of them would take hundreds of
    /// descriptors a thread.</summary>
    private static readonly string[] s_named =
    [
        "io_uring_enter", "read", "write", "recvfrom", "sendto", "recvmsg", "sendmsg", "accept4", "close",
        "shutdown", "getsockopt", "setsockopt", "getpeername", "epoll_wait", "epoll_ctl", "futex",
        "sched_yield", "clock_nanosleep", "nanosleep", "mmap", "munmap", "madvise",
    ];

    private readonly Process _tool;
    private readonly string _path = Path.GetTempFileName();

    /// <summary>Attaches to every thread, future ones too, and waits until it is attached.</summary>
    /// <exception cref="InvalidOperationException">Neither is installed, or neither is allowed.</exception>
    public SyscallCount(int pid)
    {
        if (TryStartPerf(pid) is { } perf)
        {
            _tool = perf;
            IsPerf = true;
        }
        else
        {
            _tool = StartStrace(pid);
        }
    }

    /// <summary>True with perf: the daemon runs at full pace while it is counted.</summary>
    public bool IsPerf { get; }

    /// <summary>Detaches and returns the calls by name.</summary>
    public IReadOnlyDictionary<string, long> Stop()
    {
        End(_tool);
        var text = File.ReadAllText(_path);
        return IsPerf ? ParsePerf(text) : Parse(text);
    }

    public void Dispose()
    {
        End(_tool);
        _tool.Dispose();
        File.Delete(_path);
    }

    private Process? TryStartPerf(int pid)
    {
        string[] events = [All, .. s_named.Select(name => Prefix + name)];
        Process perf;
        try
        {
            perf = Start("perf", "stat", "-x", ";", "-e", string.Join(',', events), "-p", $"{pid}", "-o", _path);
        }
        catch (Win32Exception)
        {
            return null;
        }

        // perf prints nothing: it has attached once it holds each event of each thread.
        var wanted = events.Length * Directory.GetDirectories($"/proc/{pid}/task").Length;
        var deadline = Environment.TickCount64 + 5_000;
        while (!perf.HasExited && Environment.TickCount64 < deadline)
        {
            if (EventsOf(perf) >= wanted)
                return perf;
            Thread.Sleep(10);
        }

        End(perf);
        perf.Dispose();
        return null;
    }

    private static int EventsOf(Process perf)
    {
        try
        {
            return new DirectoryInfo($"/proc/{perf.Id}/fd").EnumerateFileSystemInfos()
                .Count(fd => fd.LinkTarget == "anon_inode:[perf_event]");
        }
        catch (IOException)
        {
            return 0;
        }
    }

    private Process StartStrace(int pid)
    {
        Process strace;
        try
        {
            strace = Start("strace", "-c", "-f", "-U", "calls,name", "-p", $"{pid}", "-o", _path);
        }
        catch (Win32Exception exception)
        {
            throw new InvalidOperationException("--syscalls needs perf or strace", exception);
        }

        var first = strace.StandardError.ReadLine();
        if (first?.Contains("attached", StringComparison.Ordinal) != true)
            throw new InvalidOperationException($"strace: {first}");
        // One line per thread: they must not fill the pipe.
        _ = strace.StandardError.ReadToEndAsync();
        return strace;
    }

    private static Process Start(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardError = true };
        return Process.Start(start)!;
    }

    private static void End(Process tool)
    {
        if (!tool.HasExited)
            _ = Native.Kill(tool.Id, SigInt);
        tool.WaitForExit();
    }

    /// <summary>Reads the table of <c>strace -c -U calls,name</c>: one count and name per line.</summary>
    internal static IReadOnlyDictionary<string, long> Parse(string table)
    {
        var calls = new Dictionary<string, long>();
        foreach (var line in table.Split('\n'))
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 2 && words[1] != "total"
                && long.TryParse(words[0], CultureInfo.InvariantCulture, out var count))
            {
                calls[words[1]] = count;
            }
        }

        return calls;
    }

    /// <summary>Reads the lines of <c>perf stat -x ;</c>: count, unit, event and more.</summary>
    internal static IReadOnlyDictionary<string, long> ParsePerf(string lines)
    {
        var calls = new Dictionary<string, long>();
        var all = 0L;
        foreach (var line in lines.Split('\n'))
        {
            var fields = line.Split(';');
            if (fields.Length < 3 || !long.TryParse(fields[0], CultureInfo.InvariantCulture, out var count))
                continue;
            if (fields[2] == All)
                all = count;
            else if (count > 0 && fields[2].StartsWith(Prefix, StringComparison.Ordinal))
                calls[fields[2][Prefix.Length..]] = count;
        }

        if (all - calls.Values.Sum() is > 0 and var others)
            calls["others"] = others;
        return calls;
    }
}
