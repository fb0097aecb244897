using System.Globalization;
using System.Net.Http.Headers;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>The Retry-After header: seconds or a date (RFC 9110, section 10.2.3).</summary>
internal static class RetryAfter
{
    /// <summary>Longest accepted wait; more would overflow the timer.</summary>
    private static readonly TimeSpan s_longest = TimeSpan.FromDays(1);

    /// <returns>Zero for a date that has passed; null if there is no readable one.</returns>
    public static TimeSpan? Parse(string? value, DateTimeOffset now)
    {
        if (value is null)
            return null;
        var text = value.AsSpan().Trim();
        if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
            return Bound(seconds < s_longest.TotalSeconds ? TimeSpan.FromSeconds(seconds) : s_longest);
        return RetryConditionHeaderValue.TryParse(value, out var parsed) && parsed.Date is { } date
            ? Bound(date - now)
            : null;
    }

    private static TimeSpan Bound(TimeSpan wait) =>
        wait < TimeSpan.Zero ? TimeSpan.Zero : wait > s_longest ? s_longest : wait;
}
