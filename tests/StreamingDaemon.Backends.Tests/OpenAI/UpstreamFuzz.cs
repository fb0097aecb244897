using System.Net.ServerSentEvents;
using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class UpstreamFuzz
{
    private const int MaxEventBytes = 512;

    private static readonly string[] s_words =
    [
        "data: ", "data:", "\n\n", "\r\n", "\r", "event: error\n", "id: 1\n", "retry: 1\n", ": comment\n", "[DONE]",
        "{", "}", "[", "]", ",", "\"", "\\", "\\ud83d", "\\udc4b", "\\u0000", "null", "\"choices\":[", "\"delta\":{",
        "\"content\":\"x\"", "\"index\":1", "\"finish_reason\":\"stop\"", "\"error\":{\"message\":\"x\"}", "\ufeff",
    ];

    [Fact]
    public void Stream_of_any_bytes_reads_the_same_however_it_is_cut() =>
        Fuzzing.Run("upstream", s_words, (data, random) =>
        {
            var whole = Read(new CutStream(data, () => int.MaxValue));
            var cut = Read(new CutStream(data, () => random.Next(1, 20)));

            Assert.Equal(whole, cut);
        });

    [Fact]
    public void Stream_of_any_bytes_has_the_events_that_a_plain_reader_of_its_lines_finds() =>
        Fuzzing.Run("upstream", s_words, (data, random) =>
        {
            using var chunks = new ChunkReader("sk-of-the-test");
            var expected = PlainSse.Read(data, new ChunkEvents(chunks)).Select(kind => Describe(kind, chunks)).ToList();

            Assert.Equal(expected, EventsOf(data, random));
        });

    [Fact]
    public void Stream_of_any_bytes_without_our_additions_has_the_events_that_the_platforms_parser_finds() =>
        Fuzzing.Run("upstream", s_words, (data, random) =>
        {
            if (PlainSse.HasAdditions(data))
                return;
            using var chunks = new ChunkReader("sk-of-the-test");
            var expected = new List<string>();
            foreach (var item in SseParser.Create(new MemoryStream(data), chunks.Read).Enumerate())
                expected.Add(Describe(item.Data, chunks));

            Assert.Equal(expected, EventsOf(data, random, isCut: false));
        });

    private static List<string> EventsOf(byte[] data, Random random, bool isCut = true)
    {
        using var chunks = new ChunkReader("sk-of-the-test");
        using var reader = new SseReader<ChunkEvents>(new ChunkEvents(chunks), int.MaxValue);
        var events = new List<string>();
        for (var from = 0; from < data.Length;)
        {
            var piece = data.AsSpan(from, Math.Min(random.Next(1, 40), data.Length - from));
            for (var offset = 0; reader.TryRead(piece, ref offset, out var kind);)
                events.Add(Describe(kind, chunks));
            from += piece.Length;
        }

        while (isCut && reader.TryReadEnd(out var kind))
            events.Add(Describe(kind, chunks));
        return events;
    }

    private static string Describe(EventKind kind, ChunkReader chunks)
    {
        var text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(chunks.Text.Span);
        return $"{kind} {text} {chunks.SawFinishReason}";
    }

    /// <summary>The texts, and what ended them.</summary>
    private static (string Texts, BackendResult End) Read(Stream body)
    {
        var sink = new RecordingSink();
        var relay = new ResponsePump<ChunkEvents>(new Nothing(), sink,
            new ChunkEvents(new ChunkReader("sk-of-the-test")), MaxEventBytes, 200, default);
        // Nothing here ever waits.
        var end = relay.RunAsync(body).AsTask().GetAwaiter().GetResult();
        return (string.Join('|', sink.Texts), end);
    }

    private sealed class Nothing : IDisposable
    {
        public void Dispose()
        {
        }
    }

    /// <summary>Returns its bytes in pieces of the given sizes.</summary>
    private sealed class CutStream(byte[] data, Func<int> nextLength) : MemoryStream(data)
    {
        public override async Task CopyToAsync(
            Stream destination, int bufferSize, CancellationToken cancellationToken)
        {
            var buffer = new byte[Length];
            while (Read(buffer.AsSpan(0, Math.Min(buffer.Length, nextLength()))) is > 0 and var count)
                await destination.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
        }
    }
}
