using System.Text;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Data that is no JSON object but means something: the end marker, and heartbeats.</summary>
internal static class EventWords
{
    /// <summary>Longest data that is looked at, bytes.</summary>
    private const int MaxBytes = 32;

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
        if (data.Length > MaxBytes)
            return null;
        Span<byte> word = stackalloc byte[MaxBytes];
        var length = 0;
        foreach (var b in data)
        {
            // Servers write [DONE], "[DONE]" or done, and : keep-alive or [HEARTBEAT].
            if (char.IsAsciiLetter((char)b))
                word[length++] = (byte)(b | 0x20);
            else if (!"[]\"':-_ "u8.Contains(b))
                return null;
        }

        return Encoding.ASCII.GetString(word[..length]) switch
        {
            "done" => EventKind.Done,
            "ping" or "pong" or "heartbeat" or "keepalive" => EventKind.Delta,
            _ => null,
        };
    }
}
