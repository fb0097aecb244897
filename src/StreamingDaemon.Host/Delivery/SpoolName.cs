using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// The name of a delivery's file: when it was accepted, whose it is, and its id. So a directory's listing
/// says all that the order of deliveries needs, and no file is read before it is sent.
/// </summary>
/// <param name="Order">Microseconds of Unix time; of two deliveries of a process the later has more.</param>
/// <param name="User">Deliveries of one user have one number; 0 if no user is known.</param>
/// <param name="Id">The delivery's id, the receiver's <c>webhook-id</c>.</param>
internal readonly record struct SpoolName(long Order, ulong User, string Id)
{
    /// <summary>Of a delivery's file.</summary>
    public const string Extension = ".json";

    /// <summary>Beside the file of a delivery that failed: how often, when and why.</summary>
    public const string AttemptsExtension = ".try";

    private const string IdPrefix = "msg_";
    private const int HexDigits = 16;
    private const int IdLength = 4 + (2 * HexDigits);
    private const int Length = HexDigits + 1 + HexDigits + 1 + IdLength;

    private static readonly long s_mostOrder = OrderOf(DateTimeOffset.MaxValue);

    /// <summary>A clock that was further ahead than this was wrong: nothing waits for such a time.</summary>
    private static readonly TimeSpan s_mostAhead = TimeSpan.FromDays(1);

    private static readonly SearchValues<char> s_hexDigits = SearchValues.Create("0123456789abcdef");
    private static long s_lastOrder;

    /// <summary>When the delivery was accepted, or was last asked for by an operator.</summary>
    public DateTimeOffset AcceptedAt => DateTimeOffset.UnixEpoch.AddTicks(Order * 10);

    public string FileName => ToString() + Extension;

    public string AttemptsFileName => ToString() + AttemptsExtension;

    /// <summary>The name of a new delivery.</summary>
    public static SpoolName New(UserId user) =>
        new(NextOrder(), NumberOf(user), IdPrefix + RandomNumberGenerator.GetHexString(32, lowercase: true));

    /// <summary>New names come after these, also if the clock was set back since.</summary>
    public static void StartAfter(IEnumerable<SpoolName> names)
    {
        var most = OrderOf(DateTimeOffset.UtcNow + s_mostAhead);
        foreach (var name in names)
        {
            if (name.Order < most && name.Order > Volatile.Read(ref s_lastOrder))
                Volatile.Write(ref s_lastOrder, name.Order);
        }
    }

    /// <summary>The same delivery, behind all others.</summary>
    public SpoolName Renewed() => this with { Order = NextOrder() };

    /// <summary>Reads the name of a delivery's file, or of the file of its attempts.</summary>
    /// <returns>False if it is another file.</returns>
    public static bool TryParse(ReadOnlySpan<char> fileName, string extension, out SpoolName name)
    {
        name = default;
        if (fileName.Length != Length + extension.Length || !fileName.EndsWith(extension)
            || fileName[HexDigits] != '-' || fileName[(2 * HexDigits) + 1] != '-'
            || !TryParseHex(fileName[..HexDigits], out var order) || order > (ulong)s_mostOrder
            || !TryParseHex(fileName.Slice(HexDigits + 1, HexDigits), out var user))
        {
            return false;
        }

        var id = fileName.Slice((2 * HexDigits) + 2, IdLength);
        if (!IsId(id))
            return false;
        name = new SpoolName((long)order, user, id.ToString());
        return true;
    }

    /// <summary>Whether the text has the form of a delivery's id.</summary>
    public static bool IsId(ReadOnlySpan<char> text) => text.Length == IdLength
        && text.StartsWith(IdPrefix) && !text[IdPrefix.Length..].ContainsAnyExcept(s_hexDigits);

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Order:x16}-{User:x16}-{Id}");

    private static bool TryParseHex(ReadOnlySpan<char> text, out ulong value) =>
        ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);

    private static long OrderOf(DateTimeOffset time) => (time - DateTimeOffset.UnixEpoch).Ticks / 10;

    private static long NextOrder()
    {
        var now = OrderOf(DateTimeOffset.UtcNow);
        while (true)
        {
            var last = Volatile.Read(ref s_lastOrder);
            var next = Math.Max(now, last + 1);
            if (Interlocked.CompareExchange(ref s_lastOrder, next, last) == last)
                return next;
        }
    }

    /// <summary>A hash: a user's name may have any length, and characters that no file name can hold.
    /// </summary>
    private static ulong NumberOf(UserId user)
    {
        if (user.IsNone)
            return 0;
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(user.ToString()), hash);
        return Math.Max(1, BinaryPrimitives.ReadUInt64BigEndian(hash));
    }
}
