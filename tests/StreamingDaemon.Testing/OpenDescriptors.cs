namespace StreamingDaemon.Testing;

/// <summary>What a process holds open. The runtime opens files as it likes; sockets and rings are ours.</summary>
public static class OpenDescriptors
{
    /// <summary>Sockets, rings and eventfds of a process.</summary>
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
            // Closed since it was listed.
            return false;
        }
    }
}
