using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace StreamingDaemon.Backends;

/// <summary>
/// JSON strings of any quality. The framework refuses lone surrogates and bytes that are not UTF-8; here they
/// become U+FFFD. Half an emoji must not cost a user the rest of an answer, or the whole request.
/// </summary>
public static class JsonText
{
    /// <summary>The deepest nesting that is read. The platform's own limit is 64, which a schema or the
    /// arguments of a tool may pass.</summary>
    public const int MaxDepth = 1000;

    /// <summary>Reads JSON up to <see cref="MaxDepth"/>.</summary>
    public static JsonReaderOptions Options { get; } = new() { MaxDepth = MaxDepth };

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
            return Encoding.UTF8.GetString(Decode(reader.ValueSpan));
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

    /// <summary>Skips the value at which the reader is, to its last token.</summary>
    /// <param name="reader">At the value's first token.</param>
    /// <param name="data">What the reader reads, in one piece.</param>
    /// <returns>The value's bytes.</returns>
    public static ReadOnlySpan<byte> Skip(ref Utf8JsonReader reader, ReadOnlySpan<byte> data)
    {
        var start = (int)reader.TokenStartIndex;
        reader.Skip();
        return data[start..(int)reader.BytesConsumed];
    }

    /// <summary>Makes any valid JSON text sound, so that every reader takes it: bytes that are not UTF-8 and
    /// escapes of lone surrogates become U+FFFD. Everything else stays byte for byte.</summary>
    /// <param name="json">A JSON text that <see cref="Utf8JsonReader"/> accepts. Changed in place.</param>
    /// <returns><paramref name="json"/>, or a copy if it had to grow.</returns>
    public static byte[] Repair(byte[] json)
    {
        ArgumentNullException.ThrowIfNull(json);
        if (!Utf8.IsValid(json))
            json = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(json));
        // A backslash occurs in strings only, and begins an escape.
        var rest = json.AsSpan();
        while (rest.IndexOf((byte)'\\') is >= 0 and var at)
        {
            rest = rest[at..];
            var length = DecodeEscape(rest, out var rune);
            if (rune == Rune.ReplacementChar)
                "\\ufffd"u8.CopyTo(rest);
            rest = rest[length..];
        }

        return json;
    }

    /// <summary>Decodes a string that the framework refuses.</summary>
    /// <param name="escaped">The string without its quotes; its escapes are well formed.</param>
    public static ReadOnlySpan<byte> Decode(ReadOnlySpan<byte> escaped)
    {
        var decoded = new byte[3 * escaped.Length];
        return decoded.AsSpan(0, Decode(escaped, decoded));
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
