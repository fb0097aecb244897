using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Data that is no JSON object but means something: the end marker, heartbeats, and wrappings around
/// the object.</summary>
internal static class EventWords
{
    /// <summary>Longest data that is looked at, bytes.</summary>
    private const int MaxBytes = 32;

    /// <summary>Removes what some servers put around an event: the field's name once more, because proxies
    /// write it twice or lose the line end before it; a byte order mark; a JSON string, because the event was
    /// encoded twice.</summary>
    /// <param name="data">Not empty; what is around it goes.</param>
    /// <returns>False if there is nothing around it.</returns>
    public static bool TryUnwrap(ref ReadOnlySpan<byte> data)
    {
        if (data.StartsWith("data:"u8))
            data = data["data:".Length..];
        else if (LengthOfNothing(data) is > 0 and var length)
            data = data[length..];
        else if (IsOtherField(data))
            data = data.IndexOf((byte)'\n') is >= 0 and var end ? data[end..] : default;
        else if (data is [(byte)'b', (byte)'\'' or (byte)'"', .., var last] && last == data[1])
            data = data[2..^1];
        else if (!IsEncoded(data) || !TryDecode(ref data))
            return false;
        data = data.TrimStart(" \t\r\n"u8);
        return true;
    }

    /// <summary>What stands between objects and means nothing: a byte order mark, white space of Unicode, the
    /// separator of RFC 7464, a semicolon, a line end that a program wrote as two characters.</summary>
    private static int LengthOfNothing(ReadOnlySpan<byte> data) => data switch
    {
        [0xef, 0xbb, 0xbf, ..] or [0xe2, 0x80, 0x8b, ..] => 3,
        [0xc2, 0xa0, ..] or [(byte)'\\', (byte)'n' or (byte)'r', ..] => 2,
        [0x0b or 0x0c or 0x1e or (byte)';', ..] => 1,
        _ => 0,
    };

    /// <summary>Another field of an event stream that a proxy put into data, line by line.</summary>
    private static bool IsOtherField(ReadOnlySpan<byte> data) => data.StartsWith("id:"u8)
        || data.StartsWith("retry:"u8) || (data.StartsWith("event:"u8) && !NamesError(data));

    /// <summary>The data is the name of an event that is an error.</summary>
    private static bool NamesError(ReadOnlySpan<byte> data)
    {
        if (!data.StartsWith("event:"u8))
            return false;
        var line = data["event:".Length..];
        if (line.IndexOf((byte)'\n') is >= 0 and var end)
            line = line[..end];
        return SseField.NamesError(line.Trim(" \r"u8));
    }

    /// <summary>What the data means; null if it is none of these words.</summary>
    /// <param name="data">Without white space around it.</param>
    public static EventKind? KindOf(ReadOnlySpan<byte> data)
    {
        if (data.StartsWith("[DONE]"u8))
            return EventKind.Done;
        // Some gateways put the comments of their own upstream into data.
        if (data[0] == (byte)':')
            return EventKind.Delta;
        if (data.SequenceEqual("null"u8) || data.SequenceEqual("\"\""u8))
            return EventKind.Delta;
        if (NamesError(data))
            return EventKind.Error;
        if (data.Length > MaxBytes)
            return null;
        Span<byte> word = stackalloc byte[MaxBytes];
        var (length, digits) = (0, 0);
        foreach (var b in data)
        {
            // Servers write [DONE], "[DONE]" or done, and : keep-alive or [HEARTBEAT].
            if (char.IsAsciiLetter((char)b))
                word[length++] = (byte)(b | 0x20);
            else if (char.IsAsciiDigit((char)b))
                digits++;
            else if (!"[]<>|\"':-_ .+"u8.Contains(b))
                return null;
        }

        return KindOf(Encoding.ASCII.GetString(word[..length]), digits, data);
    }

    private static EventKind? KindOf(string letters, int digits, ReadOnlySpan<byte> data) => letters switch
    {
        "done" or "end" or "eos" or "eof" or "finish" or "finished" or "complete" or "completed" or "stop"
            or "close" or "closed" when digits == 0 => EventKind.Done,
        "ping" or "pong" or "heartbeat" or "keepalive" or "alive" or "hb" or "start" or "begin" or "open"
            or "connecting" or "connected" or "ok" or "waiting" or "true" or "false" or "undefined" or "none"
            => EventKind.Delta,
        // Dots.
        "" when digits == 0 => EventKind.Delta,
        // The time of day or a counter, but not the status of an error.
        "" or "t" or "z" or "tz" or "utc" or "gmt" when digits > 0 && !(digits == 3 && data[0] is (byte)'4'
            or (byte)'5') => EventKind.Delta,
        _ => null,
    };

    private static bool IsEncoded(ReadOnlySpan<byte> data) => data.StartsWith("\"{"u8)
        || data.StartsWith("\"["u8) || data.StartsWith("\"data:"u8) || data.StartsWith("\"\\\""u8);

    /// <summary>Puts what the string holds in its place.</summary>
    private static bool TryDecode(ref ReadOnlySpan<byte> data)
    {
        try
        {
            var reader = new Utf8JsonReader(data, new JsonReaderOptions { AllowMultipleValues = true });
            reader.Read();
            var rest = data[(int)reader.BytesConsumed..];
            var decoded = new byte[(3 * reader.ValueSpan.Length) + rest.Length];
            var length = JsonText.Decode(reader.ValueSpan, decoded);
            rest.CopyTo(decoded.AsSpan(length));
            data = decoded.AsSpan(0, length + rest.Length);
            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
