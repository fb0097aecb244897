using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// How long an upstream asks to wait: <c>retry-after-ms</c> (the official API's, milliseconds; Azure also
/// has <c>x-ms-retry-after-ms</c>), else Retry-After: seconds, perhaps with a fraction, or a date (RFC 9110,
/// section 10.2.3); else what its error's body says.
/// </summary>
internal static class UpstreamRetryAfter
{
    /// <summary>Longest accepted wait: ten years, which fit into the seconds of a Retry-After of ours. The
    /// daemon itself never waits so long (<see cref="RetryPolicy"/>).</summary>
    private static readonly TimeSpan s_longest = TimeSpan.FromDays(3650);

    /// <summary>OpenAI's header, and Azure's for it.</summary>
    private static readonly string[] s_milliseconds = ["retry-after-ms", "x-ms-retry-after-ms"];

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
        Number(value) is { } milliseconds ? Bound(milliseconds / 1000) : null;

    /// <summary>A value of Retry-After.</summary>
    /// <returns>Zero for a date that has passed; null if there is no readable one.</returns>
    public static TimeSpan? Parse(string? value, DateTimeOffset now)
    {
        if ((Number(value?.Trim().Trim('"')) ?? Duration(value)) is { } seconds)
            return Bound(seconds);
        return RetryConditionHeaderValue.TryParse(value, out var parsed) && parsed.Date is { } date
            ? Bound((decimal)(date - now).TotalSeconds)
            : null;
    }

    private static HeaderStringValues ValuesOf(in HttpHeadersNonValidated headers, string name) =>
        headers.TryGetValues(name, out var values) ? values : default;

    private static bool NamesWait(ref Utf8JsonReader reader) => reader.ValueTextEquals("retryDelay"u8)
        || reader.ValueTextEquals("retry_after"u8) || reader.ValueTextEquals("retryAfter"u8)
        || reader.ValueTextEquals("retry_after_seconds"u8) || reader.ValueTextEquals("estimated_time"u8);

    /// <summary>A duration as Go writes it, in seconds: <c>1m30.5s</c>.</summary>
    private static decimal? Duration(ReadOnlySpan<char> text)
    {
        text = text.Trim().Trim('"');
        if (text.IsEmpty)
            return null;
        var total = 0m;
        while (!text.IsEmpty)
        {
            var end = text.IndexOfAnyExceptInRange('.', '9');
            if (end <= 0 || Number(text[..end].ToString()) is not { } number)
                return null;
            text = text[end..];
            var unitEnd = text.IndexOfAnyExceptInRange('a', 'z') is >= 0 and var at ? at : text.Length;
            decimal? unit = text[..unitEnd] switch
            {
                "ms" => 0.001m,
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => null,
            };
            if (unit is not { } seconds || number > (decimal)s_longest.TotalSeconds)
                return null;
            total += number * seconds;
            text = text[unitEnd..];
        }

        return total;
    }

    /// <summary>A number without a sign or an exponent, of at most 19 digits before the point, perhaps with
    /// "s" after it; the first of several.</summary>
    private static decimal? Number(string? value)
    {
        var text = value.AsSpan();
        if (text.IndexOf(", ") is >= 0 and var comma)
            text = text[..comma];
        text = text.Trim();
        if (text.EndsWith("s"))
            text = text[..^1];
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
