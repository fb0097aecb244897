using System.Globalization;

namespace StreamingDaemon.Host.Runtime;

/// <summary>The memory of the process's cgroup, a container's or a unit's: version 2, or version 1 with a
/// memory controller.</summary>
internal sealed class CgroupMemory
{
    private const string Mounts = "/sys/fs/cgroup";

    private readonly string _path;
    private readonly string _root;
    private readonly bool _isVersion1;

    private CgroupMemory(string path, string root, bool isVersion1) =>
        (_path, _root, _isVersion1) = (path, root, isVersion1);

    /// <summary>This process's cgroup; null if there is none that says how much memory it uses.</summary>
    public static CgroupMemory? Find()
    {
        try
        {
            return Find(File.ReadAllLines("/proc/self/cgroup"), Mounts);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <param name="lines">/proc/self/cgroup: "4:memory:/path" of version 1, "0::/path" of version 2.</param>
    /// <param name="mounts">The directory of the mounted hierarchies.</param>
    internal static CgroupMemory? Find(IEnumerable<string> lines, string mounts)
    {
        string? version2 = null;
        foreach (var line in lines)
        {
            if (line.Split(':', 3) is not [var number, var controllers, var path])
                continue;
            if (controllers.Split(',').Contains("memory"))
                return At($"{mounts}/memory", path, isVersion1: true);
            if (number == "0")
                version2 = path;
        }

        return version2 is null ? null : At(mounts, version2, isVersion1: false);
    }

    /// <summary>Bytes in use, without the cache of files that nobody used lately: the kernel drops it before
    /// it refuses memory. Null if it cannot be read.</summary>
    public long? Used()
    {
        var used = Number(_path, _isVersion1 ? "memory.usage_in_bytes" : "memory.current");
        return used is { } bytes ? Math.Max(0, bytes - InactiveFiles()) : null;
    }

    /// <summary>The lowest limit of the cgroup and those above it in bytes; null if there is none.</summary>
    public long? Limit()
    {
        long? lowest = null;
        for (var path = _path; path.Length >= _root.Length; path = Path.GetDirectoryName(path)!)
        {
            // "max" is no number. Version 1 says 2^63, less a page, for no limit.
            var limit = Number(path, _isVersion1 ? "memory.limit_in_bytes" : "memory.max");
            if (limit < long.MaxValue / 2 && !(lowest < limit))
                lowest = limit;
        }

        return lowest;
    }

    private static CgroupMemory? At(string root, string path, bool isVersion1)
    {
        // In a container the path may be the host's, and what is mounted is the container's own cgroup.
        foreach (var directory in (ReadOnlySpan<string>)[root + path.TrimEnd('/'), root])
        {
            var cgroup = new CgroupMemory(directory, root, isVersion1);
            if (cgroup.Used() is not null)
                return cgroup;
        }

        return null;
    }

    private long InactiveFiles()
    {
        var key = _isVersion1 ? "total_inactive_file " : "inactive_file ";
        try
        {
            var line = File.ReadLines(Path.Combine(_path, "memory.stat"))
                .FirstOrDefault(line => line.StartsWith(key, StringComparison.Ordinal));
            return line is null ? 0 : long.Parse(line.AsSpan(key.Length), CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return 0;
        }
    }

    private static long? Number(string directory, string file)
    {
        try
        {
            var text = File.ReadAllText(Path.Combine(directory, file));
            return long.TryParse(text.AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture,
                out var number) ? number : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
