using System.Buffers;
using System.Net.ServerSentEvents;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using CsCheck;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Formats;

/// <summary>What the daemon writes, read by independent parsers.</summary>
public sealed partial class ResponseProperties
{
    private static readonly Gen<string> s_text = Gen.OneOf(
        Gen.String.Select(s => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(s))),
        Among("", "\r", "\n", "\r\n", "\n\n", "data: x\n\n", "[DONE]", "\0", "\u007f", "\u2028", "\"}", "\\",
            "\ufeff", "🙂", "</script>", "\u001b[31m"),
        Gen.Char.Array[0, 8].Select(c => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(c))));

    [Fact]
    public void Events_of_any_text_are_the_same_events_to_an_independent_parser() =>
        s_text.List[0, 20].Sample(texts =>
        {
            var output = new ArrayBufferWriter<byte>();
            foreach (var text in texts)
                ServerSentEvents.WriteContent(output, Encoding.UTF8.GetBytes(text));
            ServerSentEvents.WriteError(output, ErrorResponse.TooManyStreams, "r-1");
            output.Write(ServerSentEvents.Truncated);
            output.Write(ServerSentEvents.Done);

            var events = SseParser.Create(new MemoryStream(output.WrittenSpan.ToArray())).Enumerate()
                .Select(e => (e.EventType, e.Data)).ToList();

            Assert.All(events, e => Assert.Equal("message", e.EventType));
            Assert.Equal(texts, events.SkipLast(2).Select(e => Member(e.Data, "content")));
            Assert.Equal(ErrorResponse.TooManyStreams.Message, Member(events[^2].Data, "error"));
            Assert.Equal("too_many_streams", Member(events[^2].Data, "code"));
            Assert.Equal("r-1", Member(events[^2].Data, "request_id"));
            Assert.Equal("[DONE]", events[^1].Data);
        }, iter: 2_000);

    [Fact]
    public void Head_with_the_most_response_headers_fits_the_least_limit_of_pending_bytes()
    {
        const int largest = 16 * 1024;
        // The daemon reserves less than this for the end of the stream.
        const int reserve = 1024;
        var headers = string.Join(",", Enumerable.Range(0, 63).Select(i => $"\"X-{i:00}\":\"{new string('v', 252)}\""));
        Assert.True(HandoffRequestReader.TryRead(
            Encoding.UTF8.GetBytes($$$"""{"response_headers":{{{{headers}}}}}"""),
            out var request));
        Assert.InRange(request.ResponseHeaders.Length, largest - 10, largest);

        foreach (var write in (Action<ArrayBufferWriter<byte>>[])
            [
                o => ResponseHead.WriteStream(o, request.ResponseHeaders.Span),
                o => ResponseHead.WriteError(o,
                    new ErrorResponse(ErrorCode.UpstreamUnavailable, 503, "It failed.", 300),
                    new string('b', 400), request.ResponseHeaders.Span),
            ])
        {
            var head = new ArrayBufferWriter<byte>();
            write(head);
            Assert.InRange(head.WrittenCount, largest, StreamingOptions.LeastPendingBytes - reserve);
        }
    }

    private static readonly Gen<string> s_headerName = Gen.OneOf(
        Among("Set-Cookie", "X-A", "x-a", "Content-Type", "content-length", "Transfer-Encoding", "Vary",
            "Connection", "X A", "X:A", "X-A\r\nInjected", "", " X", "X\t", "Ü", "X-A\0", "Access-Control-Allow-Origin"),
        Gen.String[0, 10]);

    private static readonly Gen<string> s_headerValue = Gen.OneOf(
        Among("1", "", "a\r\nInjected: 1", "a\nb", "a\rb", "a\0", "a\u0085b", "\r\n\r\n<script>", " a ", "\t",
            "a\u007f", "ü"),
        Gen.String);

    [Fact]
    public void Head_with_any_response_headers_is_one_strict_http_head_of_the_allowed_ones() =>
        Gen.Select(s_headerName, s_headerValue.List[1, 3]).List[0, 12].Sample(given =>
        {
            var data = JsonSerializer.SerializeToUtf8Bytes(new
            {
                response_headers = given.GroupBy(h => h.Item1)
                    .ToDictionary(g => g.Key, g => g.SelectMany(h => h.Item2).ToList()),
            });
            Assert.True(HandoffRequestReader.TryRead(data, out var request));
            foreach (var status in (int[])[200, 503])
            {
                var output = new ArrayBufferWriter<byte>();
                if (status == 200)
                    ResponseHead.WriteStream(output, request.ResponseHeaders.Span);
                else
                    ResponseHead.WriteError(output, ErrorResponse.OverCapacity, "{}\n", request.ResponseHeaders.Span);

                var (headers, body) = StrictHttp.Parse(output.WrittenSpan, status);

                Assert.Equal(1, headers.Count(h => Is(h.Name, "Content-Type")));
                Assert.Equal("close", Assert.Single(headers, h => Is(h.Name, "Connection")).Value);
                Assert.DoesNotContain(headers, h => Is(h.Name, "Transfer-Encoding") || Is(h.Name, "Injected"));
                if (status == 200)
                    Assert.Empty(body);
                else
                    Assert.Equal($"{body.Length}", Assert.Single(headers, h => Is(h.Name, "Content-Length")).Value);
                var allowed = given.SelectMany(h => h.Item2.Select(v => (h.Item1, v.Trim(' ', '\t')))).ToHashSet();
                var fixedOnes = (string[])["Content-Type", "Cache-Control", "Connection", "X-Accel-Buffering",
                    "Content-Length", "Retry-After"];
                Assert.All(headers.Where(h => !fixedOnes.Contains(h.Name)), h => Assert.Contains(
                    (h.Name, Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(h.Value))),
                    allowed.Select(a => (a.Item1, Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(a.Item2))))));
            }
        }, iter: 2_000);

    private static Gen<T> Among<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static bool Is(string name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);

    private static string Member(string json, string name)
    {
        using var document = JsonDocument.Parse(json);
        return Assert.Single(document.RootElement.EnumerateObject(), m => m.Name == name).Value.GetString()!;
    }

    /// <summary>Strict RFC 9112: only CRLF ends a line, a field name is a token, and a field value has no
    /// control characters (RFC 9110, section 5.5).</summary>
    private static partial class StrictHttp
    {
        public static (List<(string Name, string Value)> Headers, string Body) Parse(ReadOnlySpan<byte> bytes,
            int status)
        {
            var text = Encoding.Latin1.GetString(bytes);
            var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
            Assert.True(end > 0, "no end of the head");
            var lines = text[..end].Split("\r\n");
            Assert.Matches($"^HTTP/1\\.1 {status} [A-Za-z ]+$", lines[0]);
            var headers = lines.Skip(1).Select(line =>
            {
                var field = Field().Match(line);
                Assert.True(field.Success, $"no field line: '{line}'");
                return (field.Groups[1].Value, field.Groups[2].Value);
            }).ToList();
            return (headers, text[(end + 4)..]);
        }

        [GeneratedRegex(@"\A([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\z")]
        private static partial Regex Field();
    }
}
