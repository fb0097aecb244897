using System.Net.Sockets;

namespace StreamingDaemon.Testing;

/// <summary>Odd files at the path of a configuration file.</summary>
public enum OddFileKind
{
    Fifo,
    LinkToEndlessDevice,
    LinkToTerminal,
    LinkToItself,
    Directory,
    Socket,
    Sparse3GB,
    OneByteTooLarge,
    EndlessProcFile,
    NotUtf8,
    Zeros,
    NestedArrays,
    NestedTables,
    EndlessKey,
    ManyKeys,
    ManyTables,
    OneKeyAgainAndAgain,
    Garbage,
    FewNestedArrays,
    FewNestedTables,
    LongKey,
    SomeKeys,
    SomeTables,
    SomeGarbage,
    ZerosInComment,
    BrokenToml,
    UnknownNames,
}

/// <summary>Creates odd files.</summary>
public static class OddFile
{
    /// <summary>A secret in some of the files. No message may quote it.</summary>
    public const string Secret = "sk-proj-0dd5ecret";

    private const int MiB = 1024 * 1024;

    /// <summary>Replaces whatever is at the path with such a file.</summary>
    public static void Place(string path, OddFileKind kind)
    {
        Remove(path);
        switch (kind)
        {
            case OddFileKind.Fifo:
                if (Posix.MakeFifo(path) != 0)
                    throw new IOException("mkfifo failed");
                break;
            case OddFileKind.LinkToEndlessDevice:
                File.CreateSymbolicLink(path, "/dev/zero");
                break;
            case OddFileKind.LinkToTerminal:
                File.CreateSymbolicLink(path, "/dev/ptmx");
                break;
            case OddFileKind.LinkToItself:
                File.CreateSymbolicLink(path, path);
                break;
            case OddFileKind.EndlessProcFile:
                // A regular file with size 0 that still has eight bytes for each page of 128 TiB.
                File.CreateSymbolicLink(path, "/proc/self/pagemap");
                break;
            case OddFileKind.Directory:
                Directory.CreateDirectory(path);
                break;
            case OddFileKind.Socket:
                using (var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
                {
                    // Rename it, because .NET removes a socket's path when it closes the socket.
                    socket.Bind(new UnixDomainSocketEndPoint(path + ".s"));
                    File.Move(path + ".s", path);
                }

                break;
            case OddFileKind.Sparse3GB:
                using (var sparse = File.Create(path + ".new"))
                    sparse.SetLength(3L * 1024 * MiB);
                File.Move(path + ".new", path);
                break;
            default:
                // By rename, because half of the file might be a good file.
                File.WriteAllBytes(path + ".new", Content(kind));
                File.Move(path + ".new", path);
                break;
        }
    }

    /// <summary>The bytes of a regular file with bad content.</summary>
    private static byte[] Content(OddFileKind kind) => kind switch
    {
        OddFileKind.NotUtf8 => [.. "[openai]\napi_key = '"u8, 0xFF, 0xFE, (byte)'\''],
        OddFileKind.Zeros => new byte[MiB],
        _ => System.Text.Encoding.ASCII.GetBytes(kind switch
        {
            OddFileKind.OneByteTooLarge => "#" + new string('x', MiB),
            OddFileKind.NestedArrays => "a = " + new string('[', MiB - 4),
            OddFileKind.NestedTables => "a = " + Repeated("{a=", 300_000),
            OddFileKind.EndlessKey => "a" + Repeated(".a", 500_000) + " = 1",
            OddFileKind.ManyKeys => Numbered(100_000, "k", "=1\n"),
            OddFileKind.ManyTables => Numbered(100_000, "[t", "]\n"),
            OddFileKind.OneKeyAgainAndAgain => Repeated("a=1\n", 260_000),
            OddFileKind.Garbage => new string('@', MiB),
            // Small enough that the daemon parses them.
            OddFileKind.FewNestedArrays => "a = " + new string('[', 60_000),
            OddFileKind.FewNestedTables => "a = " + Repeated("{a=", 20_000),
            OddFileKind.LongKey => "a" + Repeated(".a", 30_000) + " = 1",
            OddFileKind.SomeKeys => Numbered(7_000, "k", "=1\n"),
            OddFileKind.SomeTables => $"[{new string('x', 30_000)}]\n" + Numbered(3_000, "[t", "]\n"),
            OddFileKind.SomeGarbage => new string('@', 60_000),
            OddFileKind.ZerosInComment => "#" + new string('\0', 60_000),
            OddFileKind.BrokenToml => $"[openai]\napi_key {Secret}\n[timeouts]\nidle_timeout_ms = {Secret}\n",
            OddFileKind.UnknownNames => $"\"{Secret}\" = '{Secret}'\n[{Secret}]\nmodel = '{Secret}'\n",
            _ => throw new ArgumentOutOfRangeException(nameof(kind)),
        }),
    };

    private static string Repeated(string text, int times) => string.Concat(Enumerable.Repeat(text, times));

    private static string Numbered(int count, string before, string after) =>
        string.Concat(Enumerable.Range(0, count).Select(i => $"{before}{i}{after}"));

    /// <summary>Removes what is at the path; for a link, not its target.</summary>
    private static void Remove(string path)
    {
        if (Directory.Exists(path) && new FileInfo(path).LinkTarget is null)
            Directory.Delete(path);
        else
            File.Delete(path);
    }
}
