using System.Globalization;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Request ids: the application's own, made safe, or one of ours.</summary>
internal static class RequestId
{
    public const int MaxLength = 128;

    /// <summary>"sd-", two numbers of 64 bits, "-".</summary>
    private const int MaxOwnLength = 36;

    // Unique over restarts without a random number a stream: the start time in front, a counter behind.
    private static readonly string Prefix = "sd-"
        + DateTimeOffset.UtcNow.ToUnixTimeMilliseconds().ToString("x", CultureInfo.InvariantCulture) + "-";
    private static long _last;

    public static string Next() => string.Create(CultureInfo.InvariantCulture, stackalloc char[MaxOwnLength],
        $"{Prefix}{Interlocked.Increment(ref _last):x}");

    /// <summary>Keeps what may stand in a header, a log line and a JSON string as it is; the rest becomes
    /// '_'.</summary>
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
