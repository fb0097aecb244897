namespace StreamingDaemon.Testing.Hostile;

/// <summary>Messages that name data elsewhere, with descriptors that do not hold it.</summary>
public static class OddDescriptors
{
    private const string TwoBytes = "handoff-data/1 2\n";

    private static readonly byte[] s_content = "{}"u8.ToArray();

    /// <summary>Each with its line and its descriptors, which the caller closes.</summary>
    public static IEnumerable<(string Line, int[] Descriptors)> All()
    {
        using var directory = new TempDirectory();
        _ = Posix.MakeFifo(directory.File("fifo"));
        yield return (TwoBytes, [Posix.Open(directory.File("fifo"), Posix.OpenNonBlock)]);
        var (read, write) = Posix.Pipe();
        yield return (TwoBytes, [read]);
        _ = Posix.Close(write);
        yield return (TwoBytes, [Posix.Open(directory.Path, 0)]);
        yield return (TwoBytes, [Posix.Open(directory.Path, Posix.OpenPathOnly)]);
        File.WriteAllBytes(directory.File("file"), s_content);
        yield return (TwoBytes, [Posix.Open(directory.File("file"), 0)]);
        using (var sparse = File.Create(directory.File("sparse")))
            sparse.SetLength(1L << 40);
        yield return (TwoBytes, [Posix.Open(directory.File("sparse"), 0)]);
        yield return ($"handoff-data/1 {1L << 40}\n", [Posix.Open(directory.File("sparse"), 0)]);
        foreach (var odd in InMemory())
            yield return odd;
    }

    private static IEnumerable<(string Line, int[] Descriptors)> InMemory()
    {
        // Nothing keeps it from becoming shorter while it is read.
        yield return (TwoBytes, [Posix.MemoryFile(s_content, seals: 0)]);
        yield return (TwoBytes, [Posix.MemoryFile(s_content, Posix.AllSeals & ~Posix.SealShrink)]);
        yield return ("handoff-data/1 5000000\n", [Posix.MemoryFile(s_content)]);
        yield return (TwoBytes, [Posix.MemoryFile(s_content), Posix.MemoryFile(s_content)]);
        yield return (TwoBytes, []);
        yield return ("handoff-data/2 2\n", [Posix.MemoryFile(s_content)]);
    }
}
