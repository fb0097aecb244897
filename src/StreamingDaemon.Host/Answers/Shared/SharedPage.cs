using System.Globalization;
using StackExchange.Redis;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>One entry of an answer's stream.</summary>
/// <param name="Id">Its id.</param>
/// <param name="LastEvent">The id of its last event.</param>
/// <param name="Owner">The claim that wrote it; empty if it is no entry of a daemon.</param>
/// <param name="Bytes">Whole events. With an end, the only one, or none.</param>
/// <param name="End">The end, or null.</param>
internal sealed record SharedEntry(string Id, int LastEvent, string Owner, byte[] Bytes, string? End)
{
    /// <remarks>Anybody with the key may have written it.</remarks>
    public static SharedEntry Read(RedisResult raw)
    {
        var entry = (RedisResult[])raw!;
        var (id, fields) = ((string)entry[0]!, (RedisResult[])entry[1]!);
        var isOurs = int.TryParse(id.AsSpan(0, id.IndexOf('-', StringComparison.Ordinal)), NumberStyles.None,
            CultureInfo.InvariantCulture, out var last)
            && fields.Length is 4 or 6 && (string?)fields[0] == "o" && (string?)fields[2] == "e"
            && (fields.Length == 4 || (string?)fields[4] == "end");
        return isOurs
            ? new SharedEntry(id, last, (string)fields[1]!, (byte[])fields[3]!,
                fields.Length > 4 ? (string)fields[5]! : null)
            : new SharedEntry(id, 0, "", [], null);
    }
}

/// <summary>What a read found.</summary>
/// <param name="Lease">The claim of the owner, <c>done</c>, or null.</param>
/// <param name="Entries">The next entries.</param>
internal sealed record SharedPage(string? Lease, IReadOnlyList<SharedEntry> Entries)
{
    public static SharedPage Read(RedisResult result)
    {
        var parts = (RedisResult[])result!;
        return new SharedPage(
            (string?)parts[0], [.. ((RedisResult[])parts[1]!).Select(SharedEntry.Read)]);
    }
}
