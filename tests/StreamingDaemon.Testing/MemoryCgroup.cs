using System.Globalization;

namespace StreamingDaemon.Testing;

/// <summary>A cgroup with a limit of memory, as a container's: of the first version where that has the
/// controller, else of the second. Needs root.</summary>
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

    /// <summary>A command that runs another in it.</summary>
    public IReadOnlyList<string> Wrapper =>
        ["sh", "-c", $"echo $$ >{_path}/cgroup.procs && exec \"$@\"", "sh"];

    /// <summary>The most that was charged to it, the kernel's share included.</summary>
    public long PeakBytes => long.Parse(File.ReadAllText(Path.Combine(_path,
        _isVersion1 ? "memory.max_usage_in_bytes" : "memory.peak")).Trim(), CultureInfo.InvariantCulture);

    /// <summary>After its processes have ended.</summary>
    public void Dispose()
    {
        // The kernel takes a moment to forget them.
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
