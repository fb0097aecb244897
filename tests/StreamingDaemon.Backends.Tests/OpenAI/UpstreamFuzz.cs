using System.Net.ServerSentEvents;
using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class UpstreamFuzz
{
    private const int MaxEventBytes = 512;

    private static readonly string[] Words =
    [
        "data: ", "data:", "\n\n", "\r\n", "\r", "event: error\n", "id: 1\n", "retry: 1\n", ": comment\n", "[DONE]",
        "{", "}", "[", "]", ",", "\"", "\\", "\\ud83d", "\\udc4b", "\\u0000", "null", "\"choices\":[", "\"delta\":{",
        "\"content\":\"x\"", "\"index\":1", "\"finish_reason\":\"stop\"", "\"error\":{\"message\":\"x\"}", "\ufeff",
    ];

    [Fact]
    public void Stream_of_any_bytes_reads_the_same_however_it_is_cut() =>
        Fuzzing.Run("upstream", Words, (data, random) =>
        {
            var whole = Read(new CutStream(data, () => int.MaxValue));
            var cut = Read(new CutStream(data, () => random.Next(1, 20)));

            Assert.Equal(whole, cut);
        });

    /// <summary>Each event as one line; ends with what ended it.</summary>
    private static List<string> Read(Stream body)
    {
        var events = new List<string>();
        var sink = new RecordingSink();
        using var stream = new UpstreamStream(new Nothing(), body, sink, MaxEventBytes);
        using var chunks = new ChunkReader("sk-of-the-test");
        var enumerator = SseParser.Create(stream, chunks.Read).EnumerateAsync().GetAsyncEnumerator();
        try
        {
            // Nothing here ever waits.
            while (enumerator.MoveNextAsync().AsTask().GetAwaiter().GetResult())
            {
                var text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(chunks.Text.Span);
                events.Add($"{enumerator.Current.Data} {text} {chunks.SawFinishReason}");
            }

            events.Add("end");
        }
        catch (EventTooLongException)
        {
            events.Add("too long");
        }

        return events;
    }

    private sealed class Nothing : IDisposable
    {
        public void Dispose()
        {
        }
    }

    /// <summary>Gives its bytes in pieces of the sizes it is told.</summary>
    private sealed class CutStream(byte[] data, Func<int> nextLength) : MemoryStream(data)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            new(Read(buffer.Span[..Math.Min(buffer.Length, nextLength())]));
    }
}
