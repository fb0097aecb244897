using System.Buffers;
using System.IO.Compression;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text.Json;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>What the body of a 2xx response is.</summary>
internal enum BodyKind
{
    /// <summary>Server-sent events, or lines of JSON.</summary>
    Events,

    /// <summary>One JSON value: a whole completion, or an error.</summary>
    Json,

    /// <summary>No byte.</summary>
    Empty,

    /// <summary>None of these.</summary>
    Other,
}

/// <summary>
/// A response's body: decodes its content codings as its bytes come, and finds out what it is. Gateways
/// compress without being asked, and call events text or JSON. So the first bytes decide, unless the
/// Content-Type says events.
/// </summary>
internal static class AnswerBody
{
    /// <summary>Bytes that are enough to tell what a body is.</summary>
    private const int FirstBytes = 512;

    /// <summary>Most codings of one body. Each is a stream around another: thousands of them, which a header
    /// can name, would overflow the stack of whoever reads.</summary>
    public const int MaxCodings = 4;

    /// <summary>White space accepted before a body: servers keep a connection open with empty lines.
    /// </summary>
    private const int MaxBlankBytes = 64 * 1024;

    private const string ContentEncoding = "Content-Encoding";

    /// <summary>Content-Type as the server sent it; several are joined by a comma. Null if there is none.
    /// </summary>
    public static string? ContentTypeOf(HttpResponseMessage response) =>
        ValueOf(response.Content.Headers.NonValidated, "Content-Type");

    /// <summary>Drops the head. The response lives as long as the answer, and nothing counts a head of many
    /// kilobytes in its memory.</summary>
    public static void DropHead(HttpResponseMessage response)
    {
        response.Headers.Clear();
        response.Content.Headers.Clear();
    }

    /// <summary>Several values are joined by a comma.</summary>
    public static string? ValueOf(in HttpHeadersNonValidated headers, string name) =>
        headers.TryGetValues(name, out var values) ? values.ToString() : null;

    /// <summary>What the Content-Type says: events, or a type that is refused. Null: the first bytes must
    /// decide.</summary>
    public static BodyKind? KindOf(string? contentType)
    {
        // Some gateways send the header twice, or without its semicolon.
        if (contentType is null)
            return null;
        if (contentType.Contains("text/event-stream", StringComparison.OrdinalIgnoreCase)
            || contentType.Contains("ndjson", StringComparison.OrdinalIgnoreCase)
            || contentType.Contains("jsonl", StringComparison.OrdinalIgnoreCase))
        {
            return BodyKind.Events;
        }

        return contentType.Contains("html", StringComparison.OrdinalIgnoreCase) ? BodyKind.Other : null;
    }

    /// <summary>The body has a content coding.</summary>
    public static bool HasCoding(HttpResponseMessage response) =>
        response.Content.Headers.NonValidated.Contains(ContentEncoding);

    /// <summary>The body, with its content codings decoded as its bytes come.</summary>
    /// <param name="response">Its Content-Encoding names the codings, in the order in which they were
    /// applied.</param>
    /// <param name="raw">The body as it is sent.</param>
    /// <returns>Null if there are more than <see cref="MaxCodings"/>.</returns>
    public static Stream? Decode(HttpResponseMessage response, Stream raw)
    {
        if (!HasCoding(response))
            return raw;
        var codings = ValueOf(response.Content.Headers.NonValidated, ContentEncoding)!;
        var names = codings.Split(',', StringSplitOptions.TrimEntries);
        if (names.Length > MaxCodings)
            return null;
        var body = raw;
        foreach (var coding in names.Reverse())
        {
            var name = coding.Split(';')[0].TrimEnd().ToLowerInvariant();
            body = name switch
            {
                // The words after "identity" are mistakes of servers, which name no coding of a content.
                "" or "identity" or "none" or "utf-8" or "chunked" or "aws-chunked" or "binary" or "8bit"
                    => body,
                "gzip" or "x-gzip" => new CodedStream(body, BodyCoding.Gzip),
                "deflate" => new CodedStream(body, BodyCoding.Deflate),
                "br" => new CodedStream(body, BodyCoding.Brotli),
                _ => new CodedStream(body, BodyCoding.Other, name),
            };
        }

        return body;
    }

    /// <summary>Reads until it is known what the body is.</summary>
    /// <param name="body">The body.</param>
    /// <param name="onActivity">Called whenever something came.</param>
    /// <param name="cancellationToken">The client's.</param>
    /// <returns>The kind, and what was read.</returns>
    public static async ValueTask<(BodyKind Kind, ReadOnlyMemory<byte> Begun)> LookAsync(
        Stream body, Action onActivity, CancellationToken cancellationToken)
    {
        var buffer = new byte[FirstBytes];
        var (length, blanks) = (0, 0);
        while (length < buffer.Length && blanks <= MaxBlankBytes)
        {
            var count = await body.ReadAsync(buffer.AsMemory(length), cancellationToken);
            length += count;
            if (count > 0)
                onActivity();
            if (count > 0 && !buffer.AsSpan(0, length).ContainsAnyExcept(" \t\r\n"u8))
            {
                blanks += length;
                length = 0;
            }

            var begun = buffer.AsMemory(0, length);
            if (KindOf(begun.Span, isEnd: count == 0) is { } kind)
                return (kind, begun);
        }

        return (BodyKind.Other, buffer);
    }

    /// <summary>Reads the whole body, unless it proves to be lines of JSON.</summary>
    /// <param name="body">The rest of it.</param>
    /// <param name="begun">What was read before.</param>
    /// <param name="maxBytes">Longest body accepted.</param>
    /// <param name="onActivity">Called whenever something came.</param>
    /// <param name="memory">Counts the body.</param>
    /// <param name="cancellationToken">The client's.</param>
    /// <returns>Json and the body; Events and what was read, if lines come; Other if it is too
    /// long.</returns>
    public static async ValueTask<(BodyKind Kind, ReadOnlyMemory<byte> Bytes)> ReadWholeAsync(
        Stream body, ReadOnlyMemory<byte> begun, int maxBytes, Action onActivity,
        AnswerMemory memory, CancellationToken cancellationToken)
    {
        var whole = new ArrayBufferWriter<byte>();
        whole.Write(begun.Span);
        bool? isLines = null;
        while (whole.WrittenCount <= maxBytes)
        {
            isLines ??= IsLines(whole.WrittenSpan);
            if (isLines == true)
                return (BodyKind.Events, whole.WrittenMemory);
            var count = await body.ReadAsync(whole.GetMemory(4096), cancellationToken);
            if (count == 0)
                return (BodyKind.Json, whole.WrittenMemory);
            onActivity();
            whole.Advance(count);
            // The buffer, and the smaller ones that it replaced.
            memory.SetLines(whole.Capacity * 2);
        }

        return (BodyKind.Other, default);
    }

    /// <summary>Whether the first line is a JSON object, and another line follows it. Servers stream such
    /// lines as application/json, and a reader must not wait for the last one.</summary>
    /// <returns>Null if it cannot be said yet.</returns>
    private static bool? IsLines(ReadOnlySpan<byte> begun)
    {
        if (begun.StartsWith("\ufeff"u8))
            begun = begun[3..];
        begun = begun.TrimStart(" \t\r\n\u001e"u8);
        if (begun.IndexOf((byte)'\n') is not (>= 0 and var end))
            return null;
        var line = begun[..end].TrimEnd(" \t\r"u8);
        if (line[0] != (byte)'{' || line[^1] != (byte)'}')
            return false;
        if (begun[end..].TrimStart(" \t\r\n\u001e"u8).IsEmpty)
            return null;
        try
        {
            var reader = new Utf8JsonReader(line, JsonText.Options);
            reader.Read();
            reader.Skip();
            return reader.BytesConsumed == line.Length;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    /// <summary>Whether a JSON body is one string.</summary>
    public static bool IsText(ReadOnlySpan<byte> json) =>
        json.TrimStart("\ufeff \t\r\n"u8).StartsWith((byte)'"');

    /// <summary>What the first bytes say; null if more are needed.</summary>
    private static BodyKind? KindOf(ReadOnlySpan<byte> begun, bool isEnd)
    {
        if (begun.StartsWith("\ufeff"u8))
            begun = begun[3..];
        begun = begun.TrimStart(" \t\r\n\u001e"u8);
        if (begun.IsEmpty)
            return isEnd ? BodyKind.Empty : null;
        if (begun[0] is (byte)'{' or (byte)'[' or (byte)'"')
            return BodyKind.Json;
        if (begun[0] == (byte)':')
            return BodyKind.Events;
        if (begun.IndexOf((byte)':') is >= 0 and var colon)
        {
            var field = begun[..colon];
            return field.SequenceEqual("data"u8) || field.SequenceEqual("event"u8)
                || field.SequenceEqual("id"u8) || field.SequenceEqual("retry"u8)
                || field.SequenceEqual("error"u8) ? BodyKind.Events : BodyKind.Other;
        }

        const int LongestField = 5;
        return isEnd || begun.Length > LongestField ? BodyKind.Other : null;
    }
}
