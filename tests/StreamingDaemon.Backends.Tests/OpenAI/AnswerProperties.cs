using System.Text;
using System.Text.Json;
using CsCheck;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>An answer's text does not depend on how its stream is written, framed or cut.</summary>
public sealed class AnswerProperties
{
    private static readonly Gen<string> s_piece = Gen.OneOf(
        Gen.String[Gen.Char["abc \"\\\n\r\t\0é日{}[]:"], 0, 12], Gen.Const("😀"), Gen.Const("a 🌍 b"), Gen.Const("data: x\n\n"));

    /// <summary>How one chunk is written: its shape, and what stands before it.</summary>
    private static readonly Gen<(string Text, int Shape, int Before, bool IsEscaped)> s_chunk =
        Gen.Select(s_piece, Gen.Int[0, 6], Gen.Int[0, 6], Gen.Bool);

    [Fact]
    public void Any_valid_stream_framed_in_any_legal_way_and_cut_anywhere_gives_the_same_text() =>
        Gen.Select(s_chunk.Array[1, 8], Gen.Int[0, 2], Gen.Int[0, 3], Gen.Bool, Gen.Int[1, 40].Array[1, 10])
            // White space and controls alone are no answer.
            .Where(made => made.Item1.Any(chunk => chunk.Text.Any(letter => letter > ' ')))
            .Sample((chunks, lineEnd, end, hasMark, cuts) =>
            {
                var stream = new StringBuilder(hasMark ? "\ufeff" : "");
                foreach (var chunk in chunks)
                    stream.Append(Before(chunk.Before)).Append(Write(chunk.Text, chunk.Shape, chunk.IsEscaped));
                stream.Append(end switch
                {
                    0 => "data: [DONE]\n\n",
                    1 => Stop + "\n\ndata: [DONE]",
                    2 => Stop + "\n\n",
                    _ => Stop,
                });
                var text = stream.ToString().Replace("\n", lineEnd switch { 0 => "\n", 1 => "\r\n", _ => "\r" },
                    StringComparison.Ordinal);

                var sink = new RecordingSink();
                using var body = new CutBody(Encoding.UTF8.GetBytes(text), cuts);
                var pump = new ResponsePump<ChunkEvents>(
                    body, sink, new ChunkEvents(new ChunkReader("")), 1 << 20, 200, default);
                // Nothing here ever waits.
                var result = pump.RunAsync(body).AsTask().GetAwaiter().GetResult();

                Assert.Equal(StreamOutcome.Completed, result.Outcome);
                Assert.Equal(string.Concat(chunks.Select(chunk => chunk.Text)), sink.Whole);
            }, iter: 5_000);

    private const string Stop = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}";

    private static string Before(int kind) => kind switch
    {
        0 => ": a comment\n",
        1 => ": a comment\n\n",
        2 => "event: message\nid: 7\nretry: 5\n",
        3 => "event: error\n\n",
        4 => "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"hm\"}}]}\n\n",
        5 => "unknown: field\nevent\n",
        _ => "",
    };

    private static string Write(string text, int shape, bool isEscaped)
    {
        var json = JsonSerializer.Serialize(text);
        if (!isEscaped)
            json = "\"" + string.Concat(text.Select(c => c is '"' or '\\' or < ' ' ? $"\\u{(int)c:x4}" : c.ToString())) + "\"";
        return shape switch
        {
            0 => Event($"{{\"delta\":{{\"content\":{json}}},\"index\":0}}"),
            1 => Event($"{{\"index\":0,\"delta\":{{\"content\":[{{\"type\":\"text\",\"text\":{json}}}]}}}}"),
            2 => Event($"{{\"index\":0,\"delta\":{{\"content\":null,\"refusal\":{json}}}}}"),
            3 => $"data: {{\"choices\":\ndata: [{{\"index\":0,\ndata:\"delta\":{{\"content\":{json}}}}}]}}\n\n",
            4 => Event($"{{\"index\":0,\"delta\":{{\"content\":{json}}},\"text\":{json}}}"),
            5 => Event($"{{\"index\":0,\"delta\":{{\"content\":{json}}},\"finish_reason\":null}}")[..^1]
                + Event("{\"index\":0,\"delta\":{}}"),
            _ => Event($"{{\"index\":1,\"delta\":{{}}}},{{\"index\":0,\"delta\":{{\"content\":{json}}}}}"),
        };
    }

    private static string Event(string choices) => $"data: {{\"choices\":[{choices}]}}\n\n";

    /// <summary>Brings its bytes in pieces of the given sizes, over and over.</summary>
    private sealed class CutBody(byte[] data, int[] sizes) : MemoryStream(data)
    {
        public override async Task CopyToAsync(
            Stream destination, int bufferSize, CancellationToken cancellationToken)
        {
            var buffer = new byte[40];
            for (var i = 0; Read(buffer.AsSpan(0, sizes[i % sizes.Length])) is > 0 and var count; i++)
                await destination.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
        }
    }
}
