using System.Buffers;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Reads <c>response_headers</c>, which the application adds to the response head. It is an object of
/// strings, or of arrays of strings for a header that is sent more than once (Set-Cookie). A header that
/// could break the head, or contradict the daemon's headers, is dropped; the others are kept. A list holds
/// lines, as PHP's <c>headers_list()</c> returns them.
/// </summary>
internal static class ResponseHeaderReader
{
    private const int MaxHeaders = 64;
    private const int MaxBytes = 16 * 1024;

    /// <summary>tchar of RFC 9110, section 5.6.2.</summary>
    private static readonly SearchValues<char> s_tokenChars = SearchValues.Create(
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    private static readonly HashSet<string> s_blocked = new(StringComparer.OrdinalIgnoreCase)
    {
        "content-type", "cache-control", "connection", "x-accel-buffering", "transfer-encoding",
        "content-length", "content-encoding",
        // Hop-by-hop headers (RFC 9110, section 7.6.1): they are about a connection that the daemon closes.
        "keep-alive", "upgrade", "trailer", "te", "proxy-connection",
        // The daemon sends it with errors.
        "retry-after",
        // The daemon sends it with kept answers.
        "x-answer-id",
    };

    /// <returns>The header lines, each with its CRLF, and whether any header was dropped.</returns>
    public static (ReadOnlyMemory<byte> Lines, bool Dropped) Read(ref Utf8JsonReader reader)
    {
        reader.Read();
        var isArray = reader.TokenType == JsonTokenType.StartArray;
        if (!isArray && reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return (default, reader.TokenType != JsonTokenType.Null);
        }

        var headers = new Headers();
        if (isArray)
        {
            while (PhpArrays.ReadItem(ref reader))
                AddLine(ref reader, ref headers);
        }
        else
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                AddValues(ref reader, ref headers);
        }

        return (headers.Lines?.WrittenMemory ?? default, headers.Dropped);
    }

    /// <summary>Adds a header with a value, or with a list of them.</summary>
    private static void AddValues(ref Utf8JsonReader reader, ref Headers headers)
    {
        var isIndex = PhpArrays.IsIndex(ref reader);
        var name = JsonText.Read(ref reader);
        reader.Read();
        if (isIndex && IsLine(ref reader))
        {
            AddLine(ref reader, ref headers);
            return;
        }

        if (reader.TokenType != JsonTokenType.StartArray && !PhpArrays.IsList(reader))
        {
            AddValue(ref reader, name, ref headers);
            return;
        }

        while (PhpArrays.ReadItem(ref reader))
            AddValue(ref reader, name, ref headers);
    }

    private struct Headers
    {
        public ArrayBufferWriter<byte>? Lines;
        public int Count;
        public bool Dropped;
    }

    private static void AddValue(ref Utf8JsonReader reader, string name, ref Headers headers)
    {
        var value = reader.TokenType switch
        {
            JsonTokenType.String => JsonText.Read(ref reader),
            JsonTokenType.Number => Encoding.UTF8.GetString(reader.ValueSpan),
            _ => null,
        };
        reader.Skip();
        Add(name, value, ref headers);
    }

    /// <summary>Whether it is a line of a list with gaps. A header may be named 0, too.</summary>
    private static bool IsLine(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.String
        && JsonText.Read(ref reader).Contains(':', StringComparison.Ordinal);

    /// <summary>Adds "Name: value".</summary>
    private static void AddLine(ref Utf8JsonReader reader, ref Headers headers)
    {
        var line = reader.TokenType == JsonTokenType.String ? JsonText.Read(ref reader) : "";
        reader.Skip();
        var colon = line.IndexOf(':', StringComparison.Ordinal);
        if (colon < 0)
            headers.Dropped = true;
        else
            Add(line[..colon], line[(colon + 1)..].Trim(' '), ref headers);
    }

    private static void Add(string name, string? value, ref Headers headers)
    {
        headers.Lines ??= new ArrayBufferWriter<byte>();
        if (value is null || !IsAllowed(name, value) || headers.Count == MaxHeaders
            || headers.Lines.WrittenCount + name.Length + Encoding.UTF8.GetByteCount(value) + 4 > MaxBytes)
        {
            headers.Dropped = true;
            return;
        }

        Encoding.UTF8.GetBytes($"{name}: {value}\r\n", headers.Lines);
        headers.Count++;
    }

    private static bool IsAllowed(string name, string value) =>
        name.Length > 0
        && !name.AsSpan().ContainsAnyExcept(s_tokenChars)
        && !s_blocked.Contains(name)
        && !value.AsSpan().ContainsAnyInRange('\0', '\x08')
        && !value.AsSpan().ContainsAnyInRange('\x0a', '\x1f')
        && !value.Contains('\x7f');
}
