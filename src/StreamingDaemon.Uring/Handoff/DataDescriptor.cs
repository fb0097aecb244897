using System.Buffers.Text;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// A handoff whose data is not in its message: the message is one line, <c>handoff-data/1 LENGTH</c>, and its
/// second descriptor is a sealed memfd that holds the data. The line is no JSON, so a daemon that does not
/// know it answers its client with a 400. docs/protocol.md describes it.
/// </summary>
internal static class DataDescriptor
{
    /// <summary>Sent to the peer once it is received. A peer that reads the end of its connection instead
    /// speaks to a daemon that does not know such handoffs.</summary>
    public static ReadOnlySpan<byte> Acknowledgement => "handoff-data/1\n"u8;

    public const string NoDescriptor = "it names a data descriptor, and none came with it";
    public const string SeveralDescriptors = "more than one data descriptor came";
    public const string BadLine = "its first line is not that of a version known here";
    public const string NotSealed =
        "its data descriptor is no memfd sealed against writes and changes of size";
    public const string Unread = "its client was gone before it was read";
    public const string OtherLength = "its data has another length than it names";

    private static ReadOnlySpan<byte> Prefix => "handoff-data/"u8;

    private static ReadOnlySpan<byte> Version1 => "1 "u8;

    /// <summary>Says the message that its data is elsewhere, in whatever version?</summary>
    public static bool IsNamedBy(ReadOnlySpan<byte> message) => message.StartsWith(Prefix);

    /// <summary>The line that names data of this length.</summary>
    public static string LineFor(int length) => $"handoff-data/1 {length}\n";

    /// <summary>Reads the line of a message that <see cref="IsNamedBy"/> data elsewhere.</summary>
    /// <returns>False if it is of another version, or malformed.</returns>
    public static bool TryReadLength(ReadOnlySpan<byte> message, out long length)
    {
        length = 0;
        var rest = message[Prefix.Length..];
        if (!rest.StartsWith(Version1))
            return false;
        rest = rest[Version1.Length..];
        return Utf8Parser.TryParse(rest, out length, out var digits) && length >= 0
            && rest[digits..].SequenceEqual("\n"u8);
    }
}
