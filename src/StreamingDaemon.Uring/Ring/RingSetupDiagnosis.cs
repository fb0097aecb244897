using System.Globalization;
using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Ring;

/// <summary>Turns an errno of <c>io_uring_setup</c> into its cause and the command that fixes it.</summary>
internal static class RingSetupDiagnosis
{
    /// <summary>What the kernel says about itself, read from /proc; replaced in tests.</summary>
    /// <param name="Release">/proc/sys/kernel/osrelease.</param>
    /// <param name="IoUringDisabled">/proc/sys/kernel/io_uring_disabled (6.6), or null if it does not
    /// exist.</param>
    /// <param name="SeccompFiltered">A seccomp filter is on this process (/proc/self/status, Seccomp:
    /// 2).</param>
    /// <param name="MemlockLimit">The soft RLIMIT_MEMLOCK as /proc/self/limits prints it.</param>
    internal sealed record Environment(
        string Release, int? IoUringDisabled, bool SeccompFiltered, string MemlockLimit)
    {
        public static Environment Read() => new(
            ReadText("/proc/sys/kernel/osrelease").Trim(),
            int.TryParse(ReadText("/proc/sys/kernel/io_uring_disabled"), out var value) ? value : null,
            ReadText("/proc/self/status").Contains("Seccomp:\t2", StringComparison.Ordinal),
            MemlockOf(ReadText("/proc/self/limits")));

        private static string ReadText(string path)
        {
            try
            {
                return File.ReadAllText(path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return "";
            }
        }

        private static string MemlockOf(string limits)
        {
            const string Name = "Max locked memory";
            var line = limits.Split('\n').FirstOrDefault(l => l.StartsWith(Name, StringComparison.Ordinal));
            var parts = line?[Name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            return parts is { Length: > 0 } ? parts[0] : "unknown";
        }
    }

    public static HandoffServerException Explain(int errno, uint entries, Environment environment) =>
        new($"io_uring_setup: {NameOf(errno)}. {Cause(errno, entries, environment)}", errno);

    private static string Cause(int errno, uint entries, Environment environment) => errno switch
    {
        Errno.Perm when environment.IoUringDisabled is 1 or 2 =>
            $"kernel.io_uring_disabled is {environment.IoUringDisabled}"
            + (environment.IoUringDisabled == 2
                ? ": nobody may use io_uring. Allow it with: sysctl -w kernel.io_uring_disabled=0"
                : ": only CAP_SYS_ADMIN and members of kernel.io_uring_group may use io_uring. Add this "
                  + "user to that group, or: sysctl -w kernel.io_uring_disabled=0"),
        Errno.Perm =>
            (environment.SeccompFiltered ? "A" : "No seccomp filter is visible, but most likely a")
            + " seccomp profile blocks io_uring (Docker from 25.0 and containerd from 2.0 do by default). "
            + "Allow io_uring_setup, io_uring_enter and io_uring_register in the container's profile: "
            + "Docker: --security-opt seccomp=deploy/seccomp/streaming-daemon.json; "
            + "Kubernetes: securityContext.seccompProfile, type Localhost",
        Errno.NoSys when environment.SeccompFiltered && !TooOld(environment.Release) =>
            "A seccomp profile blocks io_uring (Podman and newer runc answer ENOSYS for calls that are not "
            + "allowed). Allow io_uring_setup, io_uring_enter and io_uring_register: "
            + "--security-opt seccomp=deploy/seccomp/streaming-daemon.json",
        Errno.NoSys =>
            $"This kernel ({environment.Release}) has no io_uring: it is older than 5.1 or built without "
            + "CONFIG_IO_URING. Linux 6.1 or newer is needed",
        Errno.NoMem =>
            $"Not enough lockable memory for a ring of {entries} entries (RLIMIT_MEMLOCK is "
            + $"{environment.MemlockLimit} bytes). Raise it: ulimit -l 65536; systemd: LimitMEMLOCK=64M; "
            + "Docker: --ulimit memlock=67108864. Or lower performance.ring_entries",
        Errno.Inval when TooOld(environment.Release) =>
            $"Kernel {environment.Release} is too old: Linux 6.1 or newer is needed "
            + "(IORING_SETUP_DEFER_TASKRUN)",
        Errno.Inval =>
            $"Kernel {environment.Release} refuses the set-up flags SINGLE_ISSUER and DEFER_TASKRUN; "
            + "Linux 6.1 or newer is needed, with io_uring whole",
        Errno.MFile or Errno.NFile =>
            "No file descriptor is left. Raise the limit: ulimit -n 200000; systemd: LimitNOFILE=200000",
        _ => $"Kernel {environment.Release} refused it: {LinuxNative.Describe(errno)}",
    };

    private static string NameOf(int errno) => errno switch
    {
        Errno.Perm => "EPERM",
        Errno.NoSys => "ENOSYS",
        Errno.NoMem => "ENOMEM",
        Errno.Inval => "EINVAL",
        Errno.MFile => "EMFILE",
        Errno.NFile => "ENFILE",
        _ => errno.ToString(CultureInfo.InvariantCulture),
    };

    // For the wording only: the kernel's answer decides what is used.
    internal static bool TooOld(string release)
    {
        var parts = release.Split('.', '-');
        return parts.Length >= 2
            && int.TryParse(parts[0], out var major)
            && int.TryParse(parts[1], out var minor)
            && (major < 6 || (major == 6 && minor < 1));
    }
}
