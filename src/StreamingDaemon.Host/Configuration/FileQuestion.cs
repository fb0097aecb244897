using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.Host.Configuration;

/// <summary>What a process asks its child about a file (<see cref="FileProcess"/>), and the bytes of each
/// answer.</summary>
internal static class FileQuestion
{
    public const string Exists = "exists";
    public const string IsDirectory = "directory";
    public const string Stamp = "stamp";
    public const string Content = "content";

    /// <summary>Longest framed answer: a file with a byte and a length in front.</summary>
    public const int MaxBytes = RegularFile.MaxBytes + sizeof(byte) + sizeof(int);

    private const byte No = 0;
    private const byte Yes = 1;

    /// <returns>Null if the question is unknown.</returns>
    public static byte[]? Answer(string question, string path) => question switch
    {
        Exists => [RegularFile.Exists(path) ? Yes : No],
        IsDirectory => [RegularFile.IsDirectory(path) ? Yes : No],
        Stamp => MemoryMarshal.AsBytes([RegularFile.StampOf(path)]).ToArray(),
        Content => RegularFile.TryRead(path, out var content) is { } problem
            ? [No, .. Encoding.UTF8.GetBytes(problem)] : [Yes, .. content],
        _ => null,
    };

    /// <summary>The answer with its length in front. A child may die after a part of it.</summary>
    public static byte[] Framed(byte[] answer) => [.. BitConverter.GetBytes(answer.Length), .. answer];

    /// <returns>Empty if any of it is missing: as an answer to each question, that is the worst.</returns>
    public static byte[] Unframed(byte[] frame) =>
        frame.Length >= sizeof(int) && BitConverter.ToInt32(frame) == frame.Length - sizeof(int)
            ? frame[sizeof(int)..] : [];

    public static bool IsYes(byte[] answer) => answer is [Yes];

    public static FileStamp StampIn(byte[] answer) =>
        MemoryMarshal.TryRead<FileStamp>(answer, out var stamp) ? stamp : default;

    /// <returns>Null, or what is wrong with the file.</returns>
    public static string? ContentIn(byte[] answer, out byte[] content)
    {
        content = answer is [Yes, ..] ? answer[1..] : [];
        return answer switch
        {
            [Yes, ..] => null,
            [No, .. var problem] => Encoding.UTF8.GetString(problem),
            _ => "cannot be read",
        };
    }
}
