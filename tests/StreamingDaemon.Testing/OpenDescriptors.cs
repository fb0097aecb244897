namespace StreamingDaemon.Testing;

/// <summary>Counts a process's open descriptors. Files are not counted: the runtime opens some at any time.
/// </summary>
public static class OpenDescriptors
{
    /// <summary>Number of sockets, rings and eventfds of a process.</summary>
    public static int SocketsAndRings(string process = "self") =>
        Directory.GetFileSystemEntries($"/proc/{process}/fd").Count(IsSocketOrRing);

    private static bool IsSocketOrRing(string entry)
    {
        try
        {
            var target = new FileInfo(entry).LinkTarget;
            return target is not null && (target.StartsWith("socket:", StringComparison.Ordinal)
                || target is "anon_inode:[io_uring]" or "anon_inode:[eventfd]");
        }
        catch (IOException)
        {
            // It was closed after it was listed.
            return false;
        }
    }
}
