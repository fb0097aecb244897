using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;

namespace StreamingDaemon.Uring;

/// <summary>The result of one check of <see cref="StartChecks"/>.</summary>
public enum CheckStatus
{
    /// <summary>As it should be.</summary>
    Ok,

    /// <summary>The server starts, but with less than requested.</summary>
    Warning,

    /// <summary>The server would not start.</summary>
    Failed,
}

/// <summary>One check.</summary>
/// <param name="Name">What was checked.</param>
/// <param name="Status">Its result.</param>
/// <param name="Detail">What was found, and how to fix it.</param>
public sealed record CheckResult(string Name, CheckStatus Status, string Detail);

/// <summary>The checks that a start makes, without starting: they change nothing and touch no path.</summary>
public static class StartChecks
{
    /// <summary>Raises this process's descriptor limit as far as allowed (RLIMIT_NOFILE, soft up to hard).
    /// Most start with 1024, for programs that call select(2). Call it before a server starts.</summary>
    public static void RaiseDescriptorLimit() => LinuxNative.RaiseDescriptorLimit();

    /// <summary>The limit of a thread's stack in bytes (RLIMIT_STACK).</summary>
    public static long StackBytes => (long)Math.Min(StackLimit.Read(), long.MaxValue);

    /// <summary>Longest time of one check: a dead file server or a silent group database would block it for
    /// ever.</summary>
    public static TimeSpan Patience { get; } = TimeSpan.FromSeconds(2);

    /// <summary>Runs every check, in order of cause.</summary>
    public static IReadOnlyList<CheckResult> Run(HandoffServerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var environment = new Lazy<RingSetupDiagnosis.Environment>(RingSetupDiagnosis.Environment.Read);
        return
        [
            Bounded("kernel", () => Kernel(environment.Value)),
            Bounded("io_uring_disabled", () => Permission(environment.Value)),
            Bounded("seccomp", () => Seccomp(environment.Value)),
            // A ring belongs to the thread that made it, which this one is.
            Bounded("io_uring", () => TryRing(options)),
            Bounded("memlock", () => new CheckResult("memlock", CheckStatus.Ok,
                $"RLIMIT_MEMLOCK is {environment.Value.MemlockLimit} bytes")),
            Bounded("nofile", () => Descriptors(options)),
            Bounded("socket", () => Socket(options)),
        ];
    }

    /// <summary>Runs a check on a thread of its own, and leaves that behind if it does not end.</summary>
    internal static CheckResult Bounded(string name, Func<CheckResult> check)
    {
        CheckResult? result = null;
        var thread = new Thread(() => Volatile.Write(ref result, Caught(name, check)))
        { IsBackground = true };
        thread.Start();
        thread.Join(Patience);
        return Volatile.Read(ref result) ?? new(name, CheckStatus.Failed,
            $"no answer within {Patience.TotalSeconds} s: a file system or a database of users that this "
            + "check asks does not answer");
    }

    private static CheckResult Caught(string name, Func<CheckResult> check)
    {
        try
        {
            return check();
        }
        catch (Exception e)
        {
            return new(name, CheckStatus.Failed, e.Message);
        }
    }

    private static CheckResult Kernel(RingSetupDiagnosis.Environment environment) =>
        RingSetupDiagnosis.TooOld(environment.Release)
            ? new("kernel", CheckStatus.Failed, $"{environment.Release}; Linux 6.1 or newer is needed")
            : new("kernel", CheckStatus.Ok, environment.Release);

    private static CheckResult Permission(RingSetupDiagnosis.Environment environment) =>
        environment.IoUringDisabled switch
        {
            null => new("io_uring_disabled", CheckStatus.Ok, "this kernel has no such sysctl"),
            0 => new("io_uring_disabled", CheckStatus.Ok, "0: everybody may use io_uring"),
            // Whether this process may is seen below, by trying.
            1 => new("io_uring_disabled", CheckStatus.Warning,
                "1: only CAP_SYS_ADMIN and the members of kernel.io_uring_group may use io_uring"),
            var value => new("io_uring_disabled", CheckStatus.Failed,
                $"{value}: nobody may. Allow it with: sysctl -w kernel.io_uring_disabled=0"),
        };

    private static CheckResult Seccomp(RingSetupDiagnosis.Environment environment) =>
        new("seccomp", CheckStatus.Ok, environment.SeccompFiltered ? "a filter is on" : "no filter");

    private static CheckResult TryRing(HandoffServerOptions options)
    {
        var rings = new List<IoUring>();
        try
        {
            // As many at once as a start has: one limit covers all they take.
            while (rings.Count < Math.Max(1, options.Rings))
                rings.Add(IoUring.Create((uint)options.RingEntries, options.SqPoll));
            var ring = rings[0];
            var lit = new List<string> { options.SqPoll ? "SQPOLL" : "DEFER_TASKRUN" };
            if ((ring.SetupFlags & IoUringConstants.SetupNoSqArray) != 0)
                lit.Add("NO_SQARRAY");
            if ((ring.Features & IoUringConstants.FeatureNoIoWait) != 0)
                lit.Add("NO_IOWAIT");
            return new("io_uring", CheckStatus.Ok,
                (rings.Count > 1 ? $"{rings.Count} rings; " : "")
                + $"{options.RingEntries} entries, {ring.CompletionCapacity} completions; "
                + $"{string.Join(", ", lit)}");
        }
        catch (HandoffServerException e)
        {
            return new("io_uring", CheckStatus.Failed,
                rings.Count == 0 ? e.Message : $"ring {rings.Count + 1} of {options.Rings}: {e.Message}");
        }
        finally
        {
            foreach (var ring in rings)
                ring.Dispose();
        }
    }

    /// <summary>Does the descriptor limit hold the requested connections?</summary>
    private static CheckResult Descriptors(HandoffServerOptions options)
    {
        var budget = DescriptorBudget.Read(options);
        var status = !budget.Suffices ? CheckStatus.Failed
            : budget.MaxConnections < options.MaxConnections ? CheckStatus.Warning
            : CheckStatus.Ok;
        return new("nofile", status, status == CheckStatus.Ok
            ? $"{budget.Limit}; {options.MaxConnections} connections fit"
            : budget.Explain(options.MaxConnections));
    }

    private static CheckResult Socket(HandoffServerOptions options)
    {
        var path = options.SocketPath;
        try
        {
            _ = SocketPath.AddressOf(path);
            if (options.SocketGroup is { Length: > 0 } group)
                SocketPath.CheckMayGiveTo(group);
            var found = options.Takeover
                ? SocketPath.IsTaken(path) ? "it will be taken over" : "free"
                : SocketPath.IsStale(path) ? "stale, it will be taken over" : "free";
            var directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
            if (!Directory.Exists(directory))
                return new("socket", CheckStatus.Failed, $"{directory} does not exist: create it first");
            SocketPathLock.Check(path);
            if (LinuxNative.CheckWritable(directory) is < 0 and var error)
            {
                return new("socket", CheckStatus.Failed, error == -Errno.Access
                    ? $"this user may not write in {directory}: change its owner or mode"
                    : $"{directory}: {LinuxNative.Describe(error)}");
            }

            return new("socket", CheckStatus.Ok, $"{path}: {found}");
        }
        catch (HandoffServerException e)
        {
            return new("socket", CheckStatus.Failed, e.Message);
        }
    }
}
