using System.Buffers;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// How long an upstream asks to wait: <c>retry-after-ms</c> (the official API's, milliseconds; Azure also
/// has <c>x-ms-retry-after-ms</c>), else Retry-After: seconds, perhaps with a fraction, or a date (RFC 9110,
/// section 10.2.3); else what its error's body says. Servers also write words, times of Unix and dates of ISO
/// 8601.
/// </summary>
internal static class UpstreamRetryAfter
{
    /// <summary>Longest accepted wait: ten years, which fit into the seconds of a Retry-After of ours. The
    /// daemon itself never waits so long (<see cref="RetryPolicy"/>).</summary>
    private static readonly TimeSpan s_longest = TimeSpan.FromDays(3650);

    /// <summary>OpenAI's header, and Azure's for it.</summary>
    private static readonly string[] s_milliseconds = ["retry-after-ms", "x-ms-retry-after-ms"];

    private static readonly SearchValues<char> s_letters =
        SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    /// <returns>Null if the response does not say.</returns>
    public static TimeSpan? Of(in HttpHeadersNonValidated headers, DateTimeOffset now)
    {
        foreach (var name in s_milliseconds)
        {
            foreach (var value in ValuesOf(headers, name))
            {
                if (ParseMilliseconds(value) is { } wait)
                    return wait;
            }
        }

        foreach (var value in ValuesOf(headers, "Retry-After"))
        {
            if (Parse(value, now) is { } wait)
                return wait;
        }

        return null;
    }

    /// <summary>What an error's body says in place of the headers: Google's <c>"retryDelay":"34.07s"</c>
    /// (google.rpc.RetryInfo), <c>"retry_after":7</c>, or how long a model loads.</summary>
    /// <returns>Null if it does not say.</returns>
    public static TimeSpan? OfBody(ReadOnlySpan<byte> body)
    {
        // The body may be cut at its limit, or be no JSON.
        var reader = new Utf8JsonReader(
            body, isFinalBlock: false, new JsonReaderState(JsonText.Options));
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType != JsonTokenType.PropertyName)
                    continue;
                var isMilliseconds = reader.ValueTextEquals("retry_after_ms"u8);
                if ((isMilliseconds || NamesWait(ref reader)) && reader.Read()
                    && reader.TokenType is JsonTokenType.String or JsonTokenType.Number
                    && Encoding.UTF8.GetString(reader.ValueSpan) is var value
                    && (isMilliseconds ? ParseMilliseconds(value) : Parse(value, DateTimeOffset.UtcNow))
                        is { } wait)
                {
                    return wait;
                }
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // No JSON, or text that is not UTF-8.
        }

        return null;
    }

    /// <summary>A value of <c>retry-after-ms</c>.</summary>
    public static TimeSpan? ParseMilliseconds(string? value) =>
        Number(Beginning(value)) is { } milliseconds ? Bound(milliseconds / 1000)
        : Duration(Beginning(value)) is { } seconds ? Bound(seconds)
        : null;

    /// <summary>A value of Retry-After.</summary>
    /// <returns>Zero for a date that has passed; null if there is no readable one.</returns>
    public static TimeSpan? Parse(string? value, DateTimeOffset now)
    {
        var text = Beginning(value);
        if (Number(text) is { } number)
            return Time(number) is { } time ? Until(time, now) : Bound(number);
        if (Duration(text) is { } seconds)
            return Bound(seconds);
        if (text is [_, _, _, _, '-', ..] && DateTimeOffset.TryParse(
            text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var date))
        {
            return Until(date, now);
        }

        return RetryConditionHeaderValue.TryParse(value, out var parsed) && parsed.Date is { } httpDate
            ? Until(httpDate, now)
            : null;
    }

    /// <summary>The first of several values, without quotes and parameters.</summary>
    private static ReadOnlySpan<char> Beginning(ReadOnlySpan<char> value)
    {
        value = value.Trim().Trim('"');
        // A date begins with its day's name and a comma.
        var end = value.IsEmpty || !char.IsAsciiDigit(value[0]) ? -1 : value.IndexOfAny(',', ';');
        return end >= 0 ? value[..end].TrimEnd() : value;
    }

    /// <summary>Numbers that are no wait but a time of Unix, in seconds or milliseconds: as a wait they would
    /// be decades.</summary>
    private static DateTimeOffset? Time(decimal number) => number switch
    {
        >= 1_000_000_000 and < 10_000_000_000 => DateTimeOffset.FromUnixTimeSeconds((long)number),
        >= 1_000_000_000_000 and < 10_000_000_000_000 =>
            DateTimeOffset.FromUnixTimeMilliseconds((long)number),
        _ => null,
    };

    private static TimeSpan Until(DateTimeOffset date, DateTimeOffset now) =>
        Bound((decimal)(date - now).TotalSeconds);

    private static HeaderStringValues ValuesOf(in HttpHeadersNonValidated headers, string name) =>
        headers.TryGetValues(name, out var values) ? values : default;

    private static bool NamesWait(ref Utf8JsonReader reader) => reader.ValueTextEquals("retryDelay"u8)
        || reader.ValueTextEquals("retry_after"u8) || reader.ValueTextEquals("retryAfter"u8)
        || reader.ValueTextEquals("retry_after_seconds"u8) || reader.ValueTextEquals("estimated_time"u8);

    /// <summary>A duration as Go writes it, or in words, in seconds: <c>1m30.5s</c>, <c>1 minute 5
    /// seconds</c>.</summary>
    private static decimal? Duration(ReadOnlySpan<char> text)
    {
        if (text.IsEmpty)
            return null;
        var total = 0m;
        while (!text.IsEmpty)
        {
            var end = text.IndexOfAnyExceptInRange('.', '9');
            if (end <= 0 || Number(text[..end]) is not { } number)
                return null;
            text = text[end..].TrimStart(' ');
            var unitEnd = text.IndexOfAnyExcept(s_letters) is >= 0 and var at ? at : text.Length;
            if (SecondsOf(text[..unitEnd]) is not { } seconds || number > (decimal)s_longest.TotalSeconds)
                return null;
            total += number * seconds;
            text = text[unitEnd..].TrimStart(' ');
        }

        return total;
    }

    private static decimal? SecondsOf(ReadOnlySpan<char> unit)
    {
        Span<char> lower = stackalloc char[12];
        var length = unit.ToLowerInvariant(lower);
        return length < 0 ? null : lower[..length] switch
        {
            "ms" or "millisecond" or "milliseconds" => 0.001m,
            "s" or "sec" or "secs" or "second" or "seconds" => 1,
            "m" or "min" or "mins" or "minute" or "minutes" => 60,
            "h" or "hr" or "hrs" or "hour" or "hours" => 3600,
            _ => null,
        };
    }

    /// <summary>A number without a sign or an exponent, of at most 19 digits before the point.</summary>
    private static decimal? Number(ReadOnlySpan<char> text)
    {
        var digits = text.IndexOf('.') is >= 0 and var point ? text[..point] : text;
        return digits.Length < 20 && decimal.TryParse(
            text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            ? number
            : null;
    }

    private static TimeSpan Bound(decimal seconds) =>
        seconds <= 0 ? TimeSpan.Zero
        : seconds >= (decimal)s_longest.TotalSeconds ? s_longest
        : TimeSpan.FromTicks((long)(seconds * TimeSpan.TicksPerSecond));
}
