using System.Globalization;
using System.Text;
using Serilog.Formatting.Compact;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// Formats a line of the access log, byte for byte as Serilog formats <see cref="LogMessages.StreamEnded"/>.
/// The buffer is reused: every stream has a line, and Serilog's line costs more than a short stream.
/// </summary>
internal sealed class AccessLine
{
    private static readonly string[] s_outcomes = Enum.GetNames<StreamOutcome>();

    /// <summary>CLEF's "@i": a hash of the message's template.</summary>
    private static readonly string s_eventId =
        EventIdHash.Compute(LogMessages.StreamEndedTemplate).ToString("x8", CultureInfo.InvariantCulture);

    private static readonly string s_source = typeof(AccessLog).FullName!;

    private byte[] _bytes = new byte[1024];
    private int _length;

    /// <summary>Room for a request id (<see cref="StreamRequest.LoggedRequestId"/>).</summary>
    public char[] IdRoom { get; } = new char[64];

    /// <summary>The last line formatted.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, _length);

    /// <summary>Formats the line like RenderedCompactJsonFormatter.</summary>
    public void FormatJson(in AccessFields fields, DateTime utcNow, LogLevel level)
    {
        _length = 0;
        Add("{\"@t\":\""u8);
        Add(utcNow, "O");
        Add("\",\"@m\":\""u8);
        AddMessage(fields, isJson: true);
        Add("\",\"@i\":\""u8);
        AddText(s_eventId, 0);
        Add("\""u8);
        if (level != LogLevel.Information)
        {
            Add(",\"@l\":\""u8);
            AddText(level == LogLevel.Debug ? "Debug" : level == LogLevel.Warning ? "Warning" : "Error", 0);
            Add("\""u8);
        }

        Add(",\"Outcome\":\""u8);
        AddText(s_outcomes[(int)fields.Outcome], 0);
        Add("\",\"RequestId\":"u8);
        Add("\""u8);
        AddText(fields.RequestId.Span, 1);
        Add("\""u8);
        Add(",\"UserId\":"u8);
        if (fields.UserId.Number is { } user)
            Add(user);
        else
            AddJsonString(fields.UserId.Text);
        Add(",\"Backend\":"u8);
        AddJsonString(fields.Backend);
        Add(",\"Model\":"u8);
        AddJsonString(fields.Model);
        Add(",\"Bytes\":"u8);
        Add(fields.Bytes);
        Add(",\"Events\":"u8);
        Add(fields.Events);
        Add(",\"TtftMs\":"u8);
        Add(fields.TtftMs);
        Add(",\"DurationMs\":"u8);
        Add(fields.DurationMs);
        Add(",\"Status\":"u8);
        Add(fields.Status);
        Add(",\"Tls\":"u8);
        Add(fields.Tls ? "true"u8 : "false"u8);
        Add(",\"Code\":"u8);
        AddJsonString(fields.Code);
        Add(",\"FinishReason\":"u8);
        AddJsonString(fields.FinishReason);
        Add(",\"Answer\":"u8);
        AddJsonString(fields.Answer);
        Add(",\"Reason\":"u8);
        AddJsonString(fields.Reason);
        Add(",\"Traceparent\":"u8);
        AddJsonString(fields.Traceparent);
        Add(",\"EventId\":{\"Id\":1,\"Name\":\"StreamEnded\"},\"SourceContext\":\""u8);
        AddText(s_source, 0);
        Add("\"}\n"u8);
    }

    /// <summary>Formats the line like the text template of <see cref="DaemonLog"/>.</summary>
    public void FormatText(in AccessFields fields, DateTime utcNow, LogLevel level)
    {
        _length = 0;
        Add(utcNow, "yyyy-MM-ddTHH:mm:ss.fffZ");
        Add(level switch
        {
            LogLevel.Information => " INF "u8,
            LogLevel.Warning => " WRN "u8,
            LogLevel.Debug => " DBG "u8,
            _ => " ERR "u8,
        });
        AddMessage(fields, isJson: false);
        Add("\n"u8);
    }

    private void AddMessage(in AccessFields fields, bool isJson)
    {
        Add("stream "u8);
        AddText(s_outcomes[(int)fields.Outcome], 0);
        Add(" request_id="u8);
        AddRendered(fields.RequestId.Span, isJson);
        Add(" user_id="u8);
        if (fields.UserId.Number is { } user)
            Add(user);
        else
            AddRendered(fields.UserId.Text, isJson);
        Add(" backend="u8);
        AddRendered(fields.Backend, isJson);
        Add(" model="u8);
        AddRendered(fields.Model, isJson);
        Add(" bytes="u8);
        Add(fields.Bytes);
        Add(" events="u8);
        Add(fields.Events);
        Add(" ttft_ms="u8);
        Add(fields.TtftMs);
        Add(" duration_ms="u8);
        Add(fields.DurationMs);
        Add(" status="u8);
        Add(fields.Status);
        Add(fields.Tls ? " tls=True"u8 : " tls=False"u8);
        Add(" code="u8);
        AddRendered(fields.Code, isJson);
        Add(" finish_reason="u8);
        AddRendered(fields.FinishReason, isJson);
        Add(" answer="u8);
        AddRendered(fields.Answer, isJson);
        Add(" reason="u8);
        AddRendered(fields.Reason, isJson);
        Add(" traceparent="u8);
        AddRendered(fields.Traceparent, isJson);
    }

    /// <summary>Adds a string inside the message: quoted in a JSON line, unquoted in a text line.</summary>
    private void AddRendered(string? text, bool isJson)
    {
        if (text is null)
            Add("null"u8);
        else
            AddRendered(text.AsSpan(), isJson);
    }

    private void AddRendered(ReadOnlySpan<char> text, bool isJson)
    {
        if (isJson)
        {
            Add("\\\""u8);
            AddText(text, 2);
            Add("\\\""u8);
        }
        else
        {
            AddText(text, 0);
        }
    }

    private void AddJsonString(string? text)
    {
        if (text is null)
        {
            Add("null"u8);
            return;
        }

        Add("\""u8);
        AddText(text, 1);
        Add("\""u8);
    }

    /// <param name="text">The text to add.</param>
    /// <param name="escapes">0: unchanged; 1: escaped for a JSON string; 2: escaped for a quoted text inside
    /// a JSON string, where a quote is escaped twice.</param>
    private void AddText(ReadOnlySpan<char> text, int escapes)
    {
        var rest = text;
        while (escapes > 0 && IndexOfEscaped(rest) is >= 0 and var at)
        {
            AddUtf8(rest[..at]);
            AddEscaped(rest[at], escapes);
            rest = rest[(at + 1)..];
        }

        AddUtf8(rest);
    }

    private static int IndexOfEscaped(ReadOnlySpan<char> text)
    {
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] is < ' ' or '"' or '\\')
                return i;
        }

        return -1;
    }

    private void AddEscaped(char character, int escapes)
    {
        switch (character)
        {
            case '"':
                Add(escapes == 2 ? "\\\\\\\""u8 : "\\\""u8);
                break;
            case '\\':
                Add("\\\\"u8);
                break;
            case '\n':
                Add("\\n"u8);
                break;
            case '\r':
                Add("\\r"u8);
                break;
            case '\f':
                Add("\\f"u8);
                break;
            case '\t':
                Add("\\t"u8);
                break;
            default:
                Add("\\u00"u8);
                Add("0123456789ABCDEF"u8.Slice(character >> 4, 1));
                Add("0123456789ABCDEF"u8.Slice(character & 0xF, 1));
                break;
        }
    }

    private void AddUtf8(ReadOnlySpan<char> text)
    {
        MakeRoom(Encoding.UTF8.GetMaxByteCount(text.Length));
        _length += Encoding.UTF8.GetBytes(text, _bytes.AsSpan(_length));
    }

    private void Add(ReadOnlySpan<byte> bytes)
    {
        MakeRoom(bytes.Length);
        bytes.CopyTo(_bytes.AsSpan(_length));
        _length += bytes.Length;
    }

    private void Add(long value) => Add(value, default);

    private void Add(double? value)
    {
        if (value is { } number)
            Add(number, "R");
        else
            Add("null"u8);
    }

    private void Add<T>(T value, ReadOnlySpan<char> format)
        where T : IUtf8SpanFormattable
    {
        const int MostOfAnyNumber = 64;
        MakeRoom(MostOfAnyNumber);
        value.TryFormat(_bytes.AsSpan(_length), out var written, format, CultureInfo.InvariantCulture);
        _length += written;
    }

    private void MakeRoom(int bytes)
    {
        if (_length + bytes > _bytes.Length)
            Array.Resize(ref _bytes, Math.Max(_length + bytes, _bytes.Length * 2));
    }
}

/// <summary>The fields of a line. Times are in ms with three decimals, or null.</summary>
internal readonly record struct AccessFields(StreamOutcome Outcome, ReadOnlyMemory<char> RequestId,
    UserId UserId, string Backend, string Model, long Bytes, int Events, double? TtftMs, double? DurationMs,
    int Status, bool Tls, string? Code, string? FinishReason, string? Answer, string? Reason,
    string? Traceparent);
