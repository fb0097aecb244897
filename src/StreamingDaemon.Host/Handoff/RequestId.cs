using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Request ids: the application's, made safe, or a new one.</summary>
internal static class RequestId
{
    public const int MaxLength = 128;

    /// <summary>"sd-", "-", and two 64-bit numbers in hexadecimal.</summary>
    public const int MaxOwnLength = 36;

    private const int HashBytes = 8;

    private static readonly SearchValues<char> s_safe = SearchValues.Create(
        "!#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~");

    // Start time and counter: unique across restarts, without a random number for each stream.
    private static readonly string s_prefix = "sd-"
        + DateTimeOffset.UtcNow.ToUnixTimeMilliseconds().ToString("x", CultureInfo.InvariantCulture) + "-";
    private static long s_last;

    /// <summary>A number for a new id; above 0.</summary>
    public static long NextNumber() => Interlocked.Increment(ref s_last);

    /// <summary>The id of a number.</summary>
    public static string Of(long number)
    {
        Span<char> room = stackalloc char[MaxOwnLength];
        return new string(room[..Write(number, room)]);
    }

    /// <summary>Writes the id of a number.</summary>
    /// <returns>Its length; at most <see cref="MaxOwnLength"/>.</returns>
    public static int Write(long number, Span<char> room)
    {
        s_prefix.CopyTo(room);
        number.TryFormat(room[s_prefix.Length..], out var digits, "x", CultureInfo.InvariantCulture);
        return s_prefix.Length + digits;
    }

    /// <summary>A new id that nobody can guess: who knows it may read the answer.</summary>
    public static string Unguessable() => "sd-" + RandomNumberGenerator.GetHexString(32, lowercase: true);

    /// <summary>Keeps characters that are safe in a header, a log line and a JSON string; others become '_'.
    /// An id that is changed or cut gets a hash of the whole, so that two ids stay two: one's handoff must
    /// not join the other's answer.</summary>
    /// <returns>At most <see cref="MaxLength"/> characters.</returns>
    public static string FromApplication(string given)
    {
        if (given.Length <= MaxLength && !given.AsSpan().ContainsAnyExcept(s_safe))
            return given;
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(MemoryMarshal.AsBytes(given.AsSpan()), hash);
        Span<char> safe = stackalloc char[Math.Min(given.Length, MaxLength - 1 - (2 * HashBytes))];
        for (var i = 0; i < safe.Length; i++)
            safe[i] = s_safe.Contains(given[i]) ? given[i] : '_';
        return string.Concat(safe, "-", Convert.ToHexStringLower(hash[..HashBytes]));
    }
}
