using System.Buffers;
using System.Text;
using StreamingDaemon.Host.Handoff;

namespace StreamingDaemon.Host.Formats;

/// <summary>
/// Writes server-sent events (WHATWG HTML, section 9.2), and text inside their JSON: raw UTF-8 with only the
/// escapes that JSON requires. What the events of a format hold, its <see cref="StreamFormat"/> says.
/// </summary>
internal static class ServerSentEvents
{
    private static readonly SearchValues<byte> s_escaped = SearchValues.Create(
        [.. Enumerable.Range(0, 0x20).Select(b => (byte)b), (byte)'"', (byte)'\\']);

    public static ReadOnlySpan<byte> Done => "data: [DONE]\n\n"u8;

    private static ReadOnlySpan<byte> DataField => "data: "u8;

    /// <summary>A comment, which clients skip. In a packet capture it explains why there is no [DONE].
    /// </summary>
    public static ReadOnlySpan<byte> Truncated => ": the upstream ended early\n\n"u8;

    /// <summary>A comment that keeps the connection open: proxies close connections that are idle.</summary>
    public static ReadOnlyMemory<byte> KeepAlive { get; } = ": keep-alive\n\n"u8.ToArray();

    private static ReadOnlySpan<byte> ContentStart => "data: {\"content\":\""u8;

    private static ReadOnlySpan<byte> End => "\"}\n\n"u8;

    /// <summary>Writes one event with a piece of the answer (UTF-8).</summary>
    public static void WriteContent(IBufferWriter<byte> output, ReadOnlySpan<byte> text)
    {
        if (text.ContainsAny(s_escaped))
        {
            output.Write(ContentStart);
            WriteEscaped(output, text);
            output.Write(End);
            return;
        }

        // The usual token: one reservation, three copies.
        var length = ContentStart.Length + text.Length + End.Length;
        var span = output.GetSpan(length);
        ContentStart.CopyTo(span);
        text.CopyTo(span[ContentStart.Length..]);
        End.CopyTo(span[(ContentStart.Length + text.Length)..]);
        output.Advance(length);
    }

    /// <summary>Begins an event whose data is one line, which the caller writes.</summary>
    public static void BeginEvent(IBufferWriter<byte> output) => output.Write(DataField);

    /// <summary>Ends an event of <see cref="BeginEvent"/>.</summary>
    public static void EndEvent(IBufferWriter<byte> output) => output.Write("\n\n"u8);

    /// <summary>Writes one event with this data, byte for byte: each of its lines is a <c>data</c> field.
    /// </summary>
    /// <param name="output">The client's buffer.</param>
    /// <param name="data">UTF-8 without CR; LF separates its lines.</param>
    public static void WriteData(IBufferWriter<byte> output, ReadOnlySpan<byte> data)
    {
        for (var end = data.IndexOf((byte)'\n'); end >= 0; end = data.IndexOf((byte)'\n'))
        {
            WriteLine(output, data[..end]);
            data = data[(end + 1)..];
        }

        WriteLine(output, data);
        output.Write("\n"u8);
    }

    /// <summary>Writes the last event of a stream that failed after its head was sent:
    /// <c>data: {"error":"…","code":…,"request_id":…}</c>.</summary>
    /// <param name="output">The client's buffer.</param>
    /// <param name="error">What went wrong.</param>
    /// <param name="requestId">Already safe in a JSON string (<see cref="RequestId"/>).</param>
    public static void WriteError(IBufferWriter<byte> output, ErrorResponse error, string requestId)
    {
        BeginEvent(output);
        Encoding.UTF8.GetBytes($"{{\"error\":\"{error.Message}\",\"code\":\"{error.Code.Word()}\","
            + $"\"request_id\":\"{requestId}\"}}", output);
        EndEvent(output);
    }

    /// <summary>Writes UTF-8 text as the inside of a JSON string, without the quotes.</summary>
    public static void WriteEscaped(IBufferWriter<byte> output, ReadOnlySpan<byte> text)
    {
        while (true)
        {
            var special = text.IndexOfAny(s_escaped);
            if (special < 0)
            {
                output.Write(text);
                return;
            }

            output.Write(text[..special]);
            WriteEscape(output, text[special]);
            text = text[(special + 1)..];
        }
    }

    /// <summary>Writes a short text, such as a name, as the inside of a JSON string.</summary>
    public static void WriteEscaped(IBufferWriter<byte> output, string name)
    {
        const int Short = 256;
        var most = Encoding.UTF8.GetMaxByteCount(name.Length);
        Span<byte> utf8 = most <= Short ? stackalloc byte[Short] : new byte[most];
        WriteEscaped(output, utf8[..Encoding.UTF8.GetBytes(name, utf8)]);
    }

    private static void WriteLine(IBufferWriter<byte> output, ReadOnlySpan<byte> line)
    {
        output.Write(DataField);
        output.Write(line);
        output.Write("\n"u8);
    }

    private static void WriteEscape(IBufferWriter<byte> output, byte b)
    {
        switch (b)
        {
            case (byte)'"':
                output.Write("\\\""u8);
                break;
            case (byte)'\\':
                output.Write("\\\\"u8);
                break;
            case (byte)'\n':
                output.Write("\\n"u8);
                break;
            case (byte)'\r':
                output.Write("\\r"u8);
                break;
            case (byte)'\t':
                output.Write("\\t"u8);
                break;
            default:
                var hex = "0123456789abcdef"u8;
                output.Write([(byte)'\\', (byte)'u', (byte)'0', (byte)'0', hex[b >> 4], hex[b & 15]]);
                break;
        }
    }
}
