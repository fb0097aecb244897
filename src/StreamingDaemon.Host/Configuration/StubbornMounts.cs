using System.Text;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Finds out which paths are on a file system whose server may keep a call for ever, even from SIGKILL.
/// It touches nothing on such a file system.
/// </summary>
/// <remarks>
/// FUSE and virtiofs wait uninterruptibly once the server has taken the request (fs/fuse/dev.c,
/// request_wait_answer). 9P does so while it cancels a request. NFS, SMB and Ceph wait killably: their
/// threads end with the process. What autofs will mount is unknown until a call makes it do so.
/// </remarks>
internal static class StubbornMounts
{
    private const string MountsFile = "/proc/self/mountinfo";

    /// <summary>As in the kernel: ELOOP.</summary>
    private const int MostLinks = 40;

    /// <summary>Whether a child should make the calls on this path: they may never return, and the path means
    /// the same file in each process.</summary>
    public static bool Hold(string path)
    {
        try
        {
            var mounts = Read(File.ReadAllText(MountsFile));
            return mounts.Count > 0 && Hold(path, mounts);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return false;
        }
    }

    /// <summary>All mount points, if one of them is stubborn. Empty otherwise.</summary>
    /// <param name="text">The content of /proc/self/mountinfo, see proc_pid_mountinfo(5).</param>
    /// <returns>Whether each is stubborn. The last mount at a point hides those before it.</returns>
    internal static Dictionary<string, bool> Read(string text)
    {
        var mounts = new Dictionary<string, bool>(StringComparer.Ordinal);
        foreach (var line in text.Split('\n'))
        {
            // 36 35 98:0 /root /mount/point options optional... - type source super-options
            var fields = line.Split(' ');
            var dash = Array.IndexOf(fields, "-", Math.Min(6, fields.Length));
            if (dash > 0 && dash + 1 < fields.Length)
                mounts[Unescape(fields[4])] = IsStubborn(fields[dash + 1]);
        }

        return mounts.ContainsValue(true) ? mounts : [];
    }

    private static bool IsStubborn(string type) =>
        type is "fuse" or "fuseblk" or "virtiofs" or "9p" or "autofs"
        || type.StartsWith("fuse.", StringComparison.Ordinal);

    /// <summary>Follows the path name by name, as the kernel does, but never onto a stubborn mount.</summary>
    /// <returns>False also for a path like /dev/stdin: in a child, it is the child's own file.</returns>
    internal static bool Hold(string path, Dictionary<string, bool> mounts)
    {
        var left = new Stack<string>();
        Push(left, Path.Combine(Environment.CurrentDirectory, path));
        var reached = "/";
        var isStubborn = mounts.GetValueOrDefault(reached);
        // The directories on the way, and whether the mount of each is stubborn: for "..".
        var above = new Stack<(string Path, bool IsStubborn)>();
        for (var links = 0; !isStubborn && left.TryPop(out var name);)
        {
            if (name == "..")
            {
                (reached, isStubborn) = above.TryPop(out var parent) ? parent : (reached, isStubborn);
                continue;
            }

            var next = reached == "/" ? "/" + name : $"{reached}/{name}";
            if (next is "/proc/self" or "/proc/thread-self")
                return false;
            var isMount = mounts.TryGetValue(next, out var kind);
            if (!isMount && new FileInfo(next).LinkTarget is { } target && ++links <= MostLinks)
            {
                Push(left, target);
                if (target.StartsWith('/'))
                {
                    (reached, isStubborn) = ("/", mounts.GetValueOrDefault("/"));
                    above.Clear();
                }

                continue;
            }

            above.Push((reached, isStubborn));
            (reached, isStubborn) = (next, isMount ? kind : isStubborn);
        }

        return isStubborn;
    }

    private static void Push(Stack<string> left, string path)
    {
        foreach (var name in path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
        {
            if (name != ".")
                left.Push(name);
        }
    }

    /// <summary>Spaces, tabs, line ends and backslashes are written as three octal digits.</summary>
    private static string Unescape(string field)
    {
        if (!field.Contains('\\'))
            return field;
        var text = new StringBuilder();
        for (var i = 0; i < field.Length; i++)
        {
            var isCode = field[i] == '\\' && i + 3 < field.Length;
            text.Append(isCode
                ? (char)(((field[i + 1] - '0') * 64) + ((field[i + 2] - '0') * 8) + field[i + 3] - '0')
                : field[i]);
            i += isCode ? 3 : 0;
        }

        return text.ToString();
    }
}
