using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends;

/// <summary>
/// JSON strings of any quality. The framework refuses lone surrogates and bytes that are not UTF-8; here they
/// become U+FFFD. Half an emoji must not cost a user the rest of an answer, or the whole request.
/// </summary>
public static class JsonText
{
    /// <summary>The current string or name, unescaped.</summary>
    public static string Read(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString() ?? "";
        }
        catch (InvalidOperationException)
        {
            // Rare, so an exception is cheap enough.
            return Decode(reader.ValueSpan);
        }
    }

    /// <summary>Decodes a string that the framework refuses.</summary>
    /// <param name="escaped">The string without its quotes; its escapes are well formed.</param>
    /// <param name="destination">At least three times as long as the input.</param>
    /// <returns>Bytes written.</returns>
    public static int Decode(ReadOnlySpan<byte> escaped, Span<byte> destination)
    {
        var written = 0;
        while (!escaped.IsEmpty)
        {
            Rune rune;
            int consumed;
            if (escaped[0] == (byte)'\\')
                consumed = DecodeEscape(escaped, out rune);
            else if (Rune.DecodeFromUtf8(escaped, out rune, out consumed) != OperationStatus.Done)
                rune = Rune.ReplacementChar;

            written += rune.EncodeToUtf8(destination[written..]);
            escaped = escaped[consumed..];
        }

        return written;
    }

    /// <summary>Whether the current name equals this one. A name that is not text (a lone surrogate) equals
    /// no known name.</summary>
    public static bool Equals(ref Utf8JsonReader reader, ReadOnlySpan<byte> name)
    {
        if (!reader.ValueIsEscaped)
            return reader.ValueSpan.SequenceEqual(name);
        try
        {
            return reader.ValueTextEquals(name);
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }

    private static string Decode(ReadOnlySpan<byte> escaped)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(3 * escaped.Length);
        var text = Encoding.UTF8.GetString(buffer, 0, Decode(escaped, buffer));
        ArrayPool<byte>.Shared.Return(buffer);
        return text;
    }

    private static int DecodeEscape(ReadOnlySpan<byte> escaped, out Rune rune)
    {
        if (escaped[1] != (byte)'u')
        {
            rune = new Rune(escaped[1] switch
            {
                (byte)'b' => '\b',
                (byte)'f' => '\f',
                (byte)'n' => '\n',
                (byte)'r' => '\r',
                (byte)'t' => '\t',
                var other => (char)other,
            });
            return 2;
        }

        var first = Hex(escaped[2..]);
        if (Rune.TryCreate(first, out rune))
            return 6;
        var isFollowed = escaped.Length >= 12 && escaped[6] == (byte)'\\' && escaped[7] == (byte)'u';
        if (isFollowed && Rune.TryCreate(first, Hex(escaped[8..]), out rune))
            return 12;
        rune = Rune.ReplacementChar;
        return 6;
    }

    private static char Hex(ReadOnlySpan<byte> digits) =>
        (char)ushort.Parse(digits[..4], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
