using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Numbers and booleans as PHP applications send them: forms and databases make strings of
/// both.</summary>
internal static class PhpScalars
{
    private static readonly string[] s_true = ["1", "true", "on", "yes"];
    private static readonly string[] s_false = ["", "0", "false", "off", "no"];

    /// <summary>What PHP's <c>FILTER_VALIDATE_BOOL</c> takes the value for.</summary>
    /// <param name="token">The value's type.</param>
    /// <param name="json">The value.</param>
    /// <returns>Null if it is neither true nor false.</returns>
    public static bool? Boolean(JsonTokenType token, ReadOnlySpan<byte> json)
    {
        const int LongestWord = 16;
        if (token is JsonTokenType.True or JsonTokenType.False)
            return token == JsonTokenType.True;
        if (json.Length > LongestWord || token is not (JsonTokenType.String or JsonTokenType.Number))
            return null;
        var word = Encoding.UTF8.GetString(Unquoted(token, json));
        return s_true.Contains(word, StringComparer.OrdinalIgnoreCase) ? true
            : s_false.Contains(word, StringComparer.OrdinalIgnoreCase) ? false
            : null;
    }

    /// <summary><see cref="Boolean"/> as JSON.</summary>
    public static byte[]? Flag(JsonTokenType token, ReadOnlySpan<byte> json) => Boolean(token, json) switch
    {
        true => "true"u8.ToArray(),
        false => "false"u8.ToArray(),
        null => null,
    };

    /// <summary>A number, or a string that PHP's <c>is_numeric</c> takes for one: ".5" and "+5" too.
    /// </summary>
    /// <param name="token">The value's type.</param>
    /// <param name="json">The value.</param>
    /// <param name="isInteger">True to write 4096.0 as 4096.</param>
    /// <returns>A number in JSON, or null.</returns>
    public static byte[]? Number(JsonTokenType token, ReadOnlySpan<byte> json, bool isInteger)
    {
        if (token is not (JsonTokenType.String or JsonTokenType.Number))
            return null;
        var text = Unquoted(token, json);
        if (isInteger && Integer(text) is { } integer)
            return Encoding.ASCII.GetBytes(integer.ToString(CultureInfo.InvariantCulture));
        if (token == JsonTokenType.Number || IsNumber(text))
            return text.ToArray();
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var real)
            && double.IsFinite(real)
                ? Encoding.ASCII.GetBytes(real.ToString("R", CultureInfo.InvariantCulture))
                : null;
    }

    /// <summary>An integer of 64 bits, however it is written.</summary>
    public static long? Integer(JsonTokenType token, ReadOnlySpan<byte> json) =>
        token is JsonTokenType.String or JsonTokenType.Number ? Integer(Unquoted(token, json)) : null;

    private static long? Integer(ReadOnlySpan<byte> text)
    {
        // Doubles from here on may be too large for 64 bits.
        const double Most = 9.2e18;
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var integer))
            return integer;
        return text.ContainsAny(".eE"u8)
            && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var real)
            && real == Math.Floor(real) && Math.Abs(real) < Most
                ? (long)real
                : null;
    }

    private static ReadOnlySpan<byte> Unquoted(JsonTokenType token, ReadOnlySpan<byte> json) =>
        (token == JsonTokenType.String ? json[1..^1] : json).Trim(" \t\r\n"u8);

    private static bool IsNumber(ReadOnlySpan<byte> text)
    {
        try
        {
            var reader = new Utf8JsonReader(text);
            return reader.Read() && reader.TokenType == JsonTokenType.Number && !reader.Read();
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
