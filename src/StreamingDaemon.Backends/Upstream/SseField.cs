using System.Buffers;
using System.Text;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>Reads a line of an event stream as a field.</summary>
internal static class SseField
{
    /// <summary>The field's value, without one leading space. A line without a colon is a field without a
    /// value; one that begins with a colon is a comment.</summary>
    public static bool TryGetValue(
        ReadOnlySpan<byte> line, ReadOnlySpan<byte> field, out ReadOnlySpan<byte> value)
    {
        value = default;
        if (!line.StartsWith(field))
            return false;
        value = line[field.Length..];
        if (value.IsEmpty)
            return true;
        if (value[0] != (byte)':')
            return false;
        value = value[1..];
        if (!value.IsEmpty && value[0] == (byte)' ')
            value = value[1..];
        return true;
    }

    /// <summary>The value of a field <c>error</c> in any letters.</summary>
    public static bool TryGetError(ReadOnlySpan<byte> line, out ReadOnlySpan<byte> value)
    {
        var name = line[..Math.Min(line.Length, "error"u8.Length)];
        value = default;
        return Ascii.EqualsIgnoreCase(name, "error"u8) && TryGetValue(line, name, out value);
    }

    /// <summary>Whether a word says that the answer has ended, if anything of it came: done, end.</summary>
    public static bool NamesEnd(ReadOnlySpan<byte> word) => word.Length switch
    {
        3 => Ascii.EqualsIgnoreCase(word, "end"u8) || Ascii.EqualsIgnoreCase(word, "eos"u8),
        4 => Ascii.EqualsIgnoreCase(word, "done"u8) || Ascii.EqualsIgnoreCase(word, "stop"u8),
        5 => Ascii.EqualsIgnoreCase(word, "close"u8),
        6 => word.SequenceEqual("[DONE]"u8) || Ascii.EqualsIgnoreCase(word, "finish"u8),
        8 => Ascii.EqualsIgnoreCase(word, "complete"u8) || Ascii.EqualsIgnoreCase(word, "finished"u8),
        9 => Ascii.EqualsIgnoreCase(word, "completed"u8),
        10 => Ascii.EqualsIgnoreCase(word, "stream_end"u8),
        12 => Ascii.EqualsIgnoreCase(word, "message_stop"u8),
        _ => false,
    };

    /// <summary>Whether an event of this name is an error: error, api_error, Exception, response.failed.
    /// </summary>
    public static bool NamesError(ReadOnlySpan<byte> name)
    {
        const int MaxLength = 64;
        Span<byte> lower = stackalloc byte[MaxLength];
        if (name.Length > MaxLength || Ascii.ToLower(name, lower, out var length) != OperationStatus.Done)
            return false;
        ReadOnlySpan<byte> word = lower[..length];
        return word.IndexOf("error"u8) >= 0 || word.IndexOf("exception"u8) >= 0
            || word.IndexOf("fail"u8) >= 0 || word.SequenceEqual("timeout"u8) || word.SequenceEqual("abort"u8)
            || word.SequenceEqual("aborted"u8) || word.SequenceEqual("canceled"u8)
            || word.SequenceEqual("cancelled"u8) || word.SequenceEqual("overloaded"u8)
            || word.SequenceEqual("rate_limited"u8) || word.SequenceEqual("unavailable"u8);
    }
}
