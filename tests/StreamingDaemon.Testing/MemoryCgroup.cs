using System.Globalization;

namespace StreamingDaemon.Testing;

/// <summary>A cgroup with a memory limit, like a container's. Uses version 1 if it has the memory controller,
/// else version 2. Needs root.</summary>
public sealed class MemoryCgroup : IDisposable
{
    private const string Version1 = "/sys/fs/cgroup/memory";
    private const string Version2 = "/sys/fs/cgroup";
    private static int s_count;

    private readonly bool _isVersion1 = Directory.Exists(Version1);
    private readonly string _path;

    public MemoryCgroup(long limitBytes)
    {
        if (!Environment.IsPrivilegedProcess)
            throw new InvalidOperationException("a limit of memory is a cgroup's: needs root");
        var name = $"streaming-daemon-test-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}";
        _path = Path.Combine(_isVersion1 ? Version1 : Version2, name);
        if (!_isVersion1)
            File.WriteAllText($"{Version2}/cgroup.subtree_control", "+memory");
        Directory.CreateDirectory(_path);
        File.WriteAllText(Path.Combine(_path, _isVersion1 ? "memory.limit_in_bytes" : "memory.max"),
            limitBytes.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>A command that runs another command in the cgroup.</summary>
    public IReadOnlyList<string> Wrapper =>
        ["sh", "-c", $"echo $$ >{_path}/cgroup.procs && exec \"$@\"", "sh"];

    /// <summary>Peak memory of the cgroup in bytes, with the kernel's memory.</summary>
    public long PeakBytes => long.Parse(File.ReadAllText(Path.Combine(_path,
        _isVersion1 ? "memory.max_usage_in_bytes" : "memory.peak")).Trim(), CultureInfo.InvariantCulture);

    /// <summary>Processes of the cgroup that the kernel has ended because of the limit.</summary>
    public int KilledProcesses => File.ReadLines(Path.Combine(_path,
            _isVersion1 ? "memory.oom_control" : "memory.events"))
        .Where(line => line.StartsWith("oom_kill ", StringComparison.Ordinal))
        .Sum(line => int.Parse(line["oom_kill ".Length..], CultureInfo.InvariantCulture));

    /// <summary>Removes the cgroup. Call it after its processes have ended.</summary>
    public void Dispose()
    {
        // The kernel takes a moment to remove ended processes from the cgroup.
        for (var tries = 0; tries < 200; tries++)
        {
            try
            {
                Directory.Delete(_path);
                return;
            }
            catch (IOException)
            {
                Thread.Sleep(10);
            }
        }
    }
}
