using System.Globalization;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Request ids: the application's, made safe, or a new one.</summary>
internal static class RequestId
{
    public const int MaxLength = 128;

    /// <summary>"sd-", "-", and two 64-bit numbers in hexadecimal.</summary>
    private const int MaxOwnLength = 36;

    // Start time and counter: unique across restarts, without a random number for each stream.
    private static readonly string s_prefix = "sd-"
        + DateTimeOffset.UtcNow.ToUnixTimeMilliseconds().ToString("x", CultureInfo.InvariantCulture) + "-";
    private static long s_last;

    public static string Next() => string.Create(CultureInfo.InvariantCulture, stackalloc char[MaxOwnLength],
        $"{s_prefix}{Interlocked.Increment(ref s_last):x}");

    /// <summary>Keeps characters that are safe in a header, a log line and a JSON string; others become '_'.
    /// </summary>
    /// <returns>At most <see cref="MaxLength"/> characters.</returns>
    public static string FromApplication(string given)
    {
        var cut = given.Length > MaxLength ? given[..MaxLength] : given;
        return string.Create(cut.Length, cut, static (span, text) =>
        {
            for (var i = 0; i < text.Length; i++)
                span[i] = text[i] is > ' ' and < '\x7f' and not ('"' or '\\') ? text[i] : '_';
        });
    }
}
