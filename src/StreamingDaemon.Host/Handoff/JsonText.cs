using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Reads JSON strings leniently: invalid UTF-8 and lone surrogates become U+FFFD.</summary>
internal static class JsonText
{
    public static string Read(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString() ?? "";
        }
        catch (InvalidOperationException)
        {
            return Repair(reader.ValueSpan);
        }
    }

    /// <summary>True if the current property has this name. False if its name is not valid text, for example
    /// because of a lone surrogate.</summary>
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

    private static string Repair(ReadOnlySpan<byte> escaped)
    {
        var chars = new ArrayBufferWriter<char>(Math.Max(1, escaped.Length));
        while (!escaped.IsEmpty)
        {
            var backslash = escaped.IndexOf((byte)'\\');
            var plain = backslash < 0 ? escaped : escaped[..backslash];
            Encoding.UTF8.GetChars(plain, chars);
            if (backslash < 0)
                break;
            // The reader has checked that every escape is complete.
            var kind = escaped[backslash + 1];
            var length = kind == (byte)'u' ? 6 : 2;
            chars.Write([Unescape(kind, escaped.Slice(backslash, length))]);
            escaped = escaped[(backslash + length)..];
        }

        // Encoding to UTF-8 and back replaces lone surrogates and keeps pairs.
        return Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(chars.WrittenSpan.ToArray()));
    }

    private static char Unescape(byte kind, ReadOnlySpan<byte> escape) => kind switch
    {
        (byte)'n' => '\n',
        (byte)'r' => '\r',
        (byte)'t' => '\t',
        (byte)'b' => '\b',
        (byte)'f' => '\f',
        (byte)'u' => (char)ushort.Parse(escape[2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture),
        _ => (char)kind,
    };
}
